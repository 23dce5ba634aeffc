{{/* What the three services have in common. All take (dict "context" $ "component" "inference"). */}}

{{- define "gatehouse.objectName" -}}
{{- printf "%s-%s" (include "gatehouse.fullname" .context) .component -}}
{{- end -}}

{{/* How a service's sidecar is set up: the dict that the templates in _sidecar.tpl take, as JSON. */}}
{{- define "gatehouse.serviceSidecar" -}}
{{- $object := include "gatehouse.objectName" . -}}
{{- $values := .context.Values -}}
{{- $namespace := .context.Release.Namespace -}}
{{- $sidecar := dict "name" .component "objectName" $object -}}
{{- $_ := set $sidecar "secret" (index $values.identity.secrets .component) -}}
{{- $_ := set $sidecar "dnsNames" (list (printf "%s.%s.svc" $object $namespace) (printf "%s.%s" $object $namespace) $object) -}}
{{- $_ := set $sidecar "inbound" (dict "app" "unix:/run/gatehouse/app.sock") -}}
{{- if eq .component "orchestration" -}}
{{- $_ := set $sidecar "egress" true -}}
{{- $upstreams := list -}}
{{- range $name := list "inference" "embeddings" -}}
{{- $upstreams = append $upstreams (include "gatehouse.upstream" (dict "context" $.context "component" $name) | fromJson) -}}
{{- end -}}
{{- $_ := set $sidecar "upstreams" $upstreams -}}
{{- $_ := set $sidecar "kubernetesApi" (eq $values.orchestration.discovery "kubernetes") -}}
{{- end -}}
{{- toJson $sidecar -}}
{{- end -}}

{{/* Where orchestration finds inference or embeddings: what the values say, else this release's pods, in the way of orchestration.discovery. */}}
{{- define "gatehouse.upstream" -}}
{{- $given := index .context.Values.orchestration.upstreams .component -}}
{{- $object := include "gatehouse.objectName" . -}}
{{- $own := printf "%s.%s.svc:%d" $object .context.Release.Namespace (int .context.Values.sidecar.ports.mtls) -}}
{{- $identity := include "gatehouse.spiffeId" (dict "context" .context "values" .context.Values "serviceAccount" $object) -}}
{{- $upstream := dict "name" .component "identity" ($given.identity | default $identity) -}}
{{- $port := int .context.Values.sidecar.ports.mtls -}}
{{- $discovery := .context.Values.orchestration.discovery -}}
{{- if or $given.endpoints (eq $discovery "service") -}}
{{- $_ := set $upstream "endpoints" ($given.endpoints | default (list $own)) -}}
{{- else if eq $discovery "dns" -}}
{{- $_ := set $upstream "dns" (printf "%s-pods.%s.svc:%d" $object .context.Release.Namespace $port) -}}
{{- else -}}
{{- $_ := set $upstream "service" (printf "%s/%s" .context.Release.Namespace $object) -}}
{{- $_ := set $upstream "port" $port -}}
{{- end -}}
{{- toJson $upstream -}}
{{- end -}}

{{/* The service's own configuration. */}}
{{- define "gatehouse.serviceConfig" -}}
{{- $values := index .context.Values .component -}}
{{- $telemetry := dict "sampleRatio" 0 "metricsListen" (printf "%s:%d" .context.Values.sidecar.listenAddress (int .context.Values.telemetry.servicePort)) -}}
{{- $of := dict "context" .context "values" .context.Values -}}
{{- $telemetry = merge $telemetry (include "gatehouse.otlp" (dict "values" .context.Values "endpoint" (include "gatehouse.otlpEndpoint" $of)) | fromJson) -}}
{{- $config := dict "name" .component "listen" "unix:/run/gatehouse/app.sock" "drainMsMax" $values.drainMsMax "telemetry" $telemetry "log" (dict "level" $values.logLevel) -}}
{{- if eq .component "orchestration" -}}
{{- $_ := set $config "egress" "unix:/run/gatehouse/egress.sock" -}}
{{- $_ := set $config "upstreams" (dict "inference" "inference" "embeddings" "embeddings") -}}
{{- if $values.graphs }}{{ $_ := set $config "graphsDir" "/etc/gatehouse/service/graphs" }}{{ end -}}
{{- else -}}
{{- $_ := set $config "models" $values.models -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* "true" when the service reads model files. */}}
{{- define "gatehouse.readsModelFiles" -}}
{{- range (index .context.Values .component).models }}{{ if .modelFile }}true{{ break }}{{ end }}{{ end -}}
{{- end -}}

{{/* The pod's spec before the sidecar comes into it. */}}
{{- define "gatehouse.servicePod" -}}
{{- $values := index .context.Values .component -}}
{{- $object := include "gatehouse.objectName" . -}}
{{- $models := include "gatehouse.readsModelFiles" . -}}
serviceAccountName: {{ $object }}
# The service does not speak to the API server; a sidecar that does has a token of its own.
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .context.Values.images.pullSecrets }}
imagePullSecrets: {{- range . }}{{ printf "\n  - name: %s" . }}{{ end }}
{{- end }}
terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
topologySpreadConstraints:
  {{- range $key, $when := dict "kubernetes.io/hostname" $values.topologySpread.whenUnsatisfiable "topology.kubernetes.io/zone" "ScheduleAnyway" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ $when }}
    labelSelector:
      matchLabels: {{- include "gatehouse.selectorLabels" $ | nindent 8 }}
    # Each revision by itself: while one replaces another, pods of both count otherwise.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if and $models (eq .context.Values.models.source "fetch") }}
initContainers:
  - name: models
    {{- with .context.Values.models.fetch }}
    image: {{ include "gatehouse.image" (dict "values" $.context.Values "image" .image) }}
    imagePullPolicy: {{ $.context.Values.images.pullPolicy }}
    args: {{- toYaml .args | nindent 6 }}
    env:
      - { name: GATEHOUSE_MODELS_DIR, value: /models }
    resources: {{- toYaml .resources | nindent 6 }}
    {{- end }}
    securityContext:
      {{- include "gatehouse.containerSecurity" . | nindent 6 }}
      {{- include "gatehouse.runAs" . | nindent 6 }}
    volumeMounts:
      - { name: models, mountPath: /models }
      - { name: tmp, mountPath: /tmp }
{{- end }}
containers:
  - name: {{ .component }}
    image: {{ include "gatehouse.image" (dict "values" .context.Values "image" $values.image) }}
    imagePullPolicy: {{ .context.Values.images.pullPolicy }}
    args: [--config, /etc/gatehouse/service/service.yaml]
    ports:
      - { name: service-stats, containerPort: {{ .context.Values.telemetry.servicePort }} }
    # It listens on a socket alone, so the sidecar answers for it: /readyz asks the service for its health. No liveness probe: a
    # service that cannot go on ends by itself, and a restart would not bring back an upstream that it waits for.
    startupProbe:
      httpGet: { path: /readyz, port: {{ .context.Values.sidecar.ports.telemetry }} }
      periodSeconds: 2
      timeoutSeconds: 2
      failureThreshold: {{ div (add $values.startSecondsMax 1) 2 }}
    resources: {{- toYaml $values.resources | nindent 6 }}
    securityContext:
      {{- include "gatehouse.containerSecurity" . | nindent 6 }}
      {{- include "gatehouse.runAs" . | nindent 6 }}
    volumeMounts:
      - { name: service-config, mountPath: /etc/gatehouse/service, readOnly: true }
      - { name: tmp, mountPath: /tmp }
      {{- with include "gatehouse.telemetryMount" (dict "values" .context.Values) }}
      {{- . | nindent 6 }}
      {{- end }}
      {{- if $models }}
      - { name: models, mountPath: /models, readOnly: true }
      {{- end }}
volumes:
  - name: service-config
    configMap:
      name: {{ $object }}
      items:
        - { key: service.yaml, path: service.yaml }
        {{- range $file, $_ := $values.graphs }}
        - { key: {{ $file | quote }}, path: {{ printf "graphs/%s" $file | quote }} }
        {{- end }}
  - name: tmp
    emptyDir: { sizeLimit: 64Mi }
  {{- if $models }}
  - name: models
    {{- if eq .context.Values.models.source "fetch" }}
    emptyDir: { sizeLimit: {{ .context.Values.models.fetch.sizeLimit }} }
    {{- else }}
    {{- toYaml .context.Values.models.volume | nindent 4 }}
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Another user than the sidecar's, in the group that shares the sockets. */}}
{{- define "gatehouse.runAs" -}}
{{- with index .context.Values .component -}}
{{- if not (kindIs "invalid" .runAsUser) }}runAsUser: {{ int64 .runAsUser }}{{ end }}
{{- end }}
{{- if not (kindIs "invalid" .context.Values.sidecar.group) }}
runAsGroup: {{ int64 .context.Values.sidecar.group }}
{{- end -}}
{{- end -}}
