{{/*
The sidecar for any pod. Charts that depend on this one use gatehouse.attach (_attach.tpl), which makes of one block of values what the templates
here take:
  context   the chart's $
  values    this chart's values: .Values here, .Values.gatehouse in a chart that depends on it
  sidecar   a dict:
    name            in traces, as NAME-sidecar; required
    objectName      what its ConfigMap and Certificate are named after; default: name
    serviceAccount  of the pod, which gives its SPIFFE ID; default: objectName
    secret          of its identity, with identity.source secret
    dnsNames        for its certificate, with identity.source cert-manager; default: none
    inbound         { app: address of the app }, or left out: nobody calls this workload
    egress          true when the app calls others, at unix:/run/gatehouse/egress.sock
    upstreams       [{ name, identity, and one of endpoints, dns, service with port }] for egress
    kubernetesApi   true when an upstream has service: the pod's ServiceAccount may list and watch EndpointSlices there
    policyConfigMap with the key policy.yaml; default: the one of this chart's values
    auditVolume     a volume of the pod's own for the record of decisions; default: what audit.storage says
    contract        { configMap, descriptorSetFile, overlayFiles }, keys of a ConfigMap: the contract of an app that is not Gatehouse's
*/}}

{{/*
The pod's spec (as `pod`, a dict) with the sidecar in it: a native sidecar, its volumes, the sockets in every container, and where calls come in
a preStop hook in those that have none.
*/}}
{{- define "gatehouse.sidecar" -}}
{{- $pod := deepCopy .pod -}}
{{- $container := include "gatehouse.sidecar.container" . | fromYaml -}}
{{- $_ := set $pod "initContainers" (prepend ($pod.initContainers | default list) $container) -}}
{{- $_ := set $pod "volumes" (concat ($pod.volumes | default list) (include "gatehouse.sidecar.volumes" . | fromYamlArray)) -}}
{{- $containers := list -}}
{{- range $each := $pod.containers -}}
{{- $mount := dict "name" "gatehouse-sockets" "mountPath" "/run/gatehouse" -}}
{{- $_ := set $each "volumeMounts" (append ($each.volumeMounts | default list) $mount) -}}
{{- $lifecycle := $each.lifecycle | default dict -}}
{{- if and $.sidecar.inbound (not $lifecycle.preStop) -}}
{{- $_ := set $each "lifecycle" (set $lifecycle "preStop" (include "gatehouse.sidecar.waitForDrain" $ | fromYaml)) -}}
{{- end -}}
{{- $containers = append $containers $each -}}
{{- end -}}
{{- $_ := set $pod "containers" $containers -}}
{{- $security := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- if not (kindIs "invalid" .values.sidecar.group) -}}
{{- $_ := set $security "fsGroup" .values.sidecar.group -}}
{{- $_ := set $security "fsGroupChangePolicy" "OnRootMismatch" -}}
{{- end -}}
{{- $_ := set $pod "securityContext" (merge ($pod.securityContext | default dict) $security) -}}
{{- toYaml $pod -}}
{{- end -}}

{{/* The init container that is the sidecar: restartPolicy Always makes it start before the app and end after it. */}}
{{- define "gatehouse.sidecar.container" -}}
{{- $values := .values.sidecar -}}
name: gatehouse-sidecar
image: {{ include "gatehouse.image" (dict "values" .values "image" $values.image) }}
imagePullPolicy: {{ .values.images.pullPolicy }}
restartPolicy: Always
args: [--config, /etc/gatehouse/config/sidecar.yaml]
{{- if include "gatehouse.audit.isShared" . }}
env:
  - { name: POD_NAME, valueFrom: { fieldRef: { fieldPath: metadata.name } } }
{{- end }}
ports:
  {{- if .sidecar.inbound }}
  - { name: gatehouse-mtls, containerPort: {{ $values.ports.mtls }} }
  {{- end }}
  - { name: gatehouse-stats, containerPort: {{ $values.ports.telemetry }} }
# Starts and lives by itself. It is ready when the app is, which it asks: the start must not wait for that, because the app waits
# for the start.
startupProbe:
  httpGet: { path: /livez, port: gatehouse-stats }
  periodSeconds: 1
  failureThreshold: {{ $values.startup.secondsMax }}
livenessProbe:
  httpGet: { path: /livez, port: gatehouse-stats }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: { path: /readyz, port: gatehouse-stats }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- if .sidecar.inbound }}
lifecycle:
  preStop:
    # Hooks of all containers run when the pod begins to end. This one begins the inbound drain, and egress goes on until SIGTERM,
    # which comes only after the app has ended. AdminService.DrainInbound with an empty message, without a gRPC library.
    exec: { command: [node, -e, {{ include "gatehouse.sidecar.beginDrain" . | quote }}] }
{{- end }}
resources: {{- toYaml $values.resources | nindent 2 }}
securityContext:
  {{- include "gatehouse.containerSecurity" . | nindent 2 }}
  {{- if not (kindIs "invalid" $values.runAsUser) }}
  runAsUser: {{ int64 $values.runAsUser }}
  {{- end }}
  {{- if not (kindIs "invalid" $values.group) }}
  runAsGroup: {{ int64 $values.group }}
  {{- end }}
volumeMounts:
  - { name: gatehouse-sockets, mountPath: /run/gatehouse }
  - { name: gatehouse-admin, mountPath: /run/gatehouse-admin }
  - { name: gatehouse-config, mountPath: /etc/gatehouse/config, readOnly: true }
  {{- if eq .values.identity.source "workload-api" }}
  - { name: gatehouse-workload-api, mountPath: /run/gatehouse-workload-api, readOnly: true }
  {{- else }}
  - { name: gatehouse-identity, mountPath: /etc/gatehouse/identity, readOnly: true }
  {{- if include "gatehouse.identity.hasBundleVolume" . }}
  - { name: gatehouse-bundle, mountPath: /etc/gatehouse/bundle, readOnly: true }
  {{- end }}
  {{- end }}
  {{- if .sidecar.kubernetesApi }}
  - { name: gatehouse-kubernetes-api, mountPath: /etc/gatehouse/kubernetes-api, readOnly: true }
  {{- end }}
  {{- if .sidecar.inbound }}
  - { name: gatehouse-policy, mountPath: /etc/gatehouse/policy, readOnly: true }
  {{- if include "gatehouse.shadowName" . }}
  - { name: gatehouse-shadow-policy, mountPath: /etc/gatehouse/shadow, readOnly: true }
  {{- end }}
  {{- if include "gatehouse.sidecar.secretSources" . | fromYamlArray }}
  - { name: gatehouse-secrets, mountPath: /etc/gatehouse/secrets, readOnly: true }
  {{- end }}
  {{- if .values.audit.enabled }}
  # A folder for each pod where they share the volume: a chain of records has one writer.
  - { name: {{ .sidecar.auditVolume | default "gatehouse-audit" }}, mountPath: /var/lib/gatehouse{{ if include "gatehouse.audit.isShared" . }}, subPathExpr: $(POD_NAME){{ end }} }
  {{- end }}
  {{- end }}
  {{- with include "gatehouse.telemetryMount" . }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if .sidecar.contract }}
  - { name: gatehouse-contract, mountPath: /etc/gatehouse/contract, readOnly: true }
  {{- end }}
{{- end -}}

{{/* Directories, never subPath: files in them are swapped as a whole, and the sidecar follows that. */}}
{{- define "gatehouse.sidecar.volumes" -}}
{{- $object := .sidecar.objectName | default .sidecar.name -}}
# Sockets for the app and the sidecar, in memory; only inodes, no bytes.
- name: gatehouse-sockets
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
# The admin socket: not for the app.
- name: gatehouse-admin
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
- name: gatehouse-config
  configMap: { name: {{ $object }}-sidecar }
{{- if .sidecar.kubernetesApi }}
# For the sidecar alone, which watches EndpointSlices; the app has no token.
- name: gatehouse-kubernetes-api
  projected:
    defaultMode: 288 # 0440
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3600 }
      - configMap:
          name: kube-root-ca.crt
          items:
            - { key: ca.crt, path: ca.crt }
{{- end }}
{{- if eq .values.identity.source "workload-api" }}
- name: gatehouse-workload-api
  {{- toYaml .values.identity.workloadApi.volume | nindent 2 }}
{{- else }}
- name: gatehouse-identity
{{- if eq .values.identity.source "cert-manager-csi" }}
  # Key and certificate are made on the node for this pod, and go with it.
  csi:
    driver: {{ .values.identity.certManagerCsi.driver }}
    readOnly: true
    {{- if not (kindIs "invalid" .values.sidecar.group) }}
    volumeAttributes: { spiffe.csi.cert-manager.io/fs-group: {{ int64 .values.sidecar.group | quote }} }
    {{- end }}
{{- if include "gatehouse.identity.hasBundleVolume" . }}
- name: gatehouse-bundle
  configMap:
    name: {{ .values.identity.bundle.configMap }}
    items:
      - { key: {{ .values.identity.bundle.key | quote }}, path: ca.crt }
{{- end }}
{{- else }}
  projected:
    defaultMode: 288 # 0440
    sources:
      - secret:
          name: {{ include "gatehouse.sidecar.secret" . }}
          items:
            - { key: tls.crt, path: tls.crt }
            - { key: tls.key, path: tls.key }
            {{- if not .values.identity.bundle.configMap }}
            - { key: ca.crt, path: ca.crt }
            {{- end }}
      {{- with .values.identity.bundle }}
      {{- if .configMap }}
      - configMap:
          name: {{ .configMap }}
          items:
            - { key: {{ .key | quote }}, path: ca.crt }
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}
{{- if .sidecar.inbound }}
- name: gatehouse-policy
  configMap: { name: {{ .sidecar.policyConfigMap | default (include "gatehouse.policyName" .) }} }
{{- with include "gatehouse.shadowName" . }}
- name: gatehouse-shadow-policy
  configMap: { name: {{ . }} }
{{- end }}
{{- with include "gatehouse.sidecar.secretSources" . | fromYamlArray }}
# Keys and passwords, each from its Secret.
- name: gatehouse-secrets
  projected:
    defaultMode: 288 # 0440
    sources: {{- toYaml . | nindent 6 }}
{{- end }}
{{- if and .values.audit.enabled (not .sidecar.auditVolume) }}
- name: gatehouse-audit
  {{- include "gatehouse.audit.volume" . | nindent 2 }}
{{- end }}
{{- end }}
{{- with include "gatehouse.telemetryVolume" . }}
# For the sidecar and, in pods of this chart, its app: both send spans.
{{ . }}
{{- end }}
{{- with .sidecar.contract }}
- name: gatehouse-contract
  configMap: { name: {{ .configMap }} }
{{- end }}
{{- end -}}

{{/* The Secret with the workload's certificate: the user's, or the one that cert-manager fills. */}}
{{- define "gatehouse.sidecar.secret" -}}
{{- if eq .values.identity.source "cert-manager" -}}
{{- printf "%s-identity" (.sidecar.objectName | default .sidecar.name) -}}
{{- else -}}
{{- .sidecar.secret | required (printf "workloads.%s.secret is missing: identity.source is secret, so set it to the Secret with its tls.crt, tls.key and ca.crt" .sidecar.name) -}}
{{- end -}}
{{- end -}}

{{/* The objects that the sidecar's pod needs: its configuration, and its Certificate where cert-manager is the source. */}}
{{- define "gatehouse.sidecar.objects" -}}
{{- $object := .sidecar.objectName | default .sidecar.name -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $object }}-sidecar
  labels: {{- include "gatehouse.labels" (dict "context" .context "component" .sidecar.name) | nindent 4 }}
data:
  sidecar.yaml: |
    {{- include "gatehouse.sidecar.config" . | nindent 4 }}
  {{- if and .sidecar.inbound .values.policy.signers }}
  # Not beside the policy: whoever may write that must not say who may sign it.
  signers.json: {{ .values.policy.signers | toJson | quote }}
  {{- end }}
{{- if eq .values.identity.source "cert-manager-csi" }}
---
# The driver asks for the certificate as this pod's ServiceAccount.
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ $object }}-identity
  labels: {{- include "gatehouse.labels" (dict "context" .context "component" .sidecar.name) | nindent 4 }}
rules:
  - apiGroups: [cert-manager.io]
    resources: [certificaterequests]
    verbs: [create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $object }}-identity
  labels: {{- include "gatehouse.labels" (dict "context" .context "component" .sidecar.name) | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $object }}-identity
subjects:
  - kind: ServiceAccount
    name: {{ .sidecar.serviceAccount | default $object }}
    namespace: {{ .context.Release.Namespace }}
{{- end }}
{{- if eq .values.identity.source "cert-manager" }}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ $object }}-identity
  labels: {{- include "gatehouse.labels" (dict "context" .context "component" .sidecar.name) | nindent 4 }}
spec:
  secretName: {{ $object }}-identity
  duration: {{ .values.identity.certManager.duration }}
  renewBefore: {{ .values.identity.certManager.renewBefore }}
  # X509-SVID: one URI, digitalSignature, no CA; the sidecar is a server and a client with it.
  uris:
    - {{ include "gatehouse.spiffeId" (dict "context" .context "values" .values "serviceAccount" (.sidecar.serviceAccount | default $object)) }}
  {{- with .sidecar.dnsNames }}
  # For callers that check host names. What counts in the mesh is the SPIFFE ID.
  dnsNames: {{- toYaml . | nindent 4 }}
  {{- end }}
  usages: [digital signature, server auth, client auth]
  privateKey: { algorithm: ECDSA, size: 256, rotationPolicy: Always }
  issuerRef: {{- toYaml .values.identity.certManager.issuerRef | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "gatehouse.sidecar.beginDrain" -}}
const { connect } = require('node:net'); const session = require('node:http2').connect('http://admin', { createConnection: () => connect('/run/gatehouse-admin/admin.sock') }); const call = session.request({ ':method': 'POST', ':path': '/gatehouse.admin.v1.AdminService/DrainInbound', 'content-type': 'application/grpc', te: 'trailers' }); call.on('trailers', (trailers) => { process.exitCode = Number(trailers['grpc-status']); }); call.on('end', () => session.close()).resume().end(Buffer.alloc(5));
{{- end -}}

{{/*
A preStop handler for an app: waits until the sidecar has drained inbound, so that the app's SIGTERM finds no call in flight from outside. Calls
of its own go on until it has ended. The kubelet asks, so nothing has to be in the app's image.
*/}}
{{- define "gatehouse.sidecar.waitForDrain" -}}
httpGet: { path: "/drained?wait", port: {{ .values.sidecar.ports.telemetry }} }
{{- end -}}

{{/* How long a pod may take to end, in milliseconds, before its app gets SIGTERM: the notice, the drain, and a second for both to begin. */}}
{{- define "gatehouse.sidecar.drainMs" -}}
{{- .sidecar.inbound | empty | ternary 0 (add .values.sidecar.limits.drainNoticeMs .values.sidecar.limits.drainMsMax 1000) -}}
{{- end -}}
