{{/* The sidecar's configuration, as docs/sidecar.md has it. */}}
{{- define "gatehouse.sidecar.config" -}}
{{- $values := .values.sidecar -}}
{{- $telemetry := dict "listen" (printf "%s:%d" $values.listenAddress (int $values.ports.telemetry)) "sampleRatio" .values.telemetry.sampleRatio -}}
{{- $telemetry = merge $telemetry (include "gatehouse.otlp" (dict "values" .values "endpoint" (include "gatehouse.otlpEndpoint" .)) | fromJson) -}}
{{- $identity := dict "certificateFile" "/etc/gatehouse/identity/tls.crt" "keyFile" "/etc/gatehouse/identity/tls.key" "bundleFile" (include "gatehouse.identity.hasBundleVolume" . | empty | ternary "/etc/gatehouse/identity/ca.crt" "/etc/gatehouse/bundle/ca.crt") "trustDomain" .values.trustDomain -}}
{{- if eq .values.identity.source "workload-api" -}}
{{- $spiffeId := include "gatehouse.spiffeId" (dict "context" .context "values" .values "serviceAccount" (.sidecar.serviceAccount | default .sidecar.objectName | default .sidecar.name)) -}}
{{- $identity = dict "workloadApi" (printf "unix:/run/gatehouse-workload-api/%s" .values.identity.workloadApi.socket) "spiffeId" $spiffeId "trustDomain" .values.trustDomain -}}
{{- end -}}
{{- $config := dict "name" .sidecar.name "identity" $identity "telemetry" $telemetry -}}
{{- $_ := set $config "admin" (dict "listen" "unix:/run/gatehouse-admin/admin.sock") -}}
{{- $_ := set $config "limits" $values.limits -}}
{{- $_ := set $config "log" (dict "level" $values.logLevel) -}}
{{- with .sidecar.inbound -}}
{{- $listen := printf "%s:%d" $values.listenAddress (int $values.ports.mtls) -}}
{{- $_ := set $config "inbound" (dict "listen" $listen "app" .app) -}}
{{- $_ := set $config "policyFile" "/etc/gatehouse/policy/policy.yaml" -}}
{{- $_ := mergeOverwrite $config (include "gatehouse.sidecar.inboundConfig" $ | fromYaml) -}}
{{- end -}}
{{- if .sidecar.egress -}}
{{- $_ := set $config "egress" (dict "listen" "unix:/run/gatehouse/egress.sock") -}}
{{- $_ := set $config "upstreams" (.sidecar.upstreams | default list) -}}
{{- if .sidecar.kubernetesApi -}}
{{- $_ := set $config "kubernetes" (dict "caFile" "/etc/gatehouse/kubernetes-api/ca.crt" "tokenFile" "/etc/gatehouse/kubernetes-api/token") -}}
{{- end -}}
{{- end -}}
{{- with .sidecar.contract -}}
{{- $contract := dict -}}
{{- with .descriptorSetFile }}{{ $_ := set $contract "descriptorSetFile" (printf "/etc/gatehouse/contract/%s" .) }}{{ end -}}
{{- $overlays := list -}}
{{- range .overlayFiles }}{{ $overlays = append $overlays (printf "/etc/gatehouse/contract/%s" .) }}{{ end -}}
{{- $_ := set $contract "overlayFiles" $overlays -}}
{{- $_ := set $config "contract" $contract -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* For the pod's annotations: a sidecar reads its configuration once, so a new one needs new pods. */}}
{{- define "gatehouse.sidecar.checksum" -}}
gatehouse.dev/sidecar-config: {{ include "gatehouse.sidecar.config" . | sha256sum | trunc 16 | quote }}
{{- end -}}

{{/* What inbound alone needs: shadow policy, signers, the record of decisions, the store of limits, keys for pseudonyms. */}}
{{- define "gatehouse.sidecar.inboundConfig" -}}
{{- $values := .values -}}
{{- $config := dict -}}
{{- if include "gatehouse.shadowName" . }}{{ $_ := set $config "shadowPolicyFile" "/etc/gatehouse/shadow/policy.yaml" }}{{ end -}}
{{- if $values.policy.signers }}{{ $_ := set $config "policySigners" "/etc/gatehouse/config/signers.json" }}{{ end -}}
{{- if $values.audit.enabled -}}
{{- $audit := merge (dict "folder" "/var/lib/gatehouse/audit") $values.audit.limits -}}
{{- with $values.audit.signingKey.secret }}{{ $_ := set $audit "signingKeyFile" "/etc/gatehouse/secrets/audit-signing.key" }}{{ end -}}
{{- $audit = merge $audit (include "gatehouse.otlp" (dict "values" $values "endpoint" $values.audit.otlpEndpoint) | fromJson) -}}
{{- $_ := set $config "audit" $audit -}}
{{- end -}}
{{- with $values.sharedLimits.redis -}}
{{- if .address -}}
{{- $redis := dict "address" .address "database" .database -}}
{{- with .username }}{{ $_ := set $redis "username" . }}{{ end -}}
{{- with .password.secret }}{{ $_ := set $redis "passwordFile" "/etc/gatehouse/secrets/redis-password" }}{{ end -}}
{{- if .tls.secret -}}
{{- $tls := dict "caFile" "/etc/gatehouse/secrets/redis-ca.crt" -}}
{{- if .tls.clientCertificate -}}
{{- $_ := set $tls "certificateFile" "/etc/gatehouse/secrets/redis-tls.crt" -}}
{{- $_ := set $tls "keyFile" "/etc/gatehouse/secrets/redis-tls.key" -}}
{{- end -}}
{{- with .tls.serverName }}{{ $_ := set $tls "serverName" . }}{{ end -}}
{{- $_ := set $redis "tls" $tls -}}
{{- end -}}
{{- $_ := set $config "sharedLimits" (merge (dict "redis" $redis) (omit $values.sharedLimits "redis")) -}}
{{- end -}}
{{- end -}}
{{- with $values.protection.keys -}}
{{- $keys := list -}}
{{- range . }}{{ $keys = append $keys (dict "name" .name "file" (printf "/etc/gatehouse/secrets/protection/%s" .name)) }}{{ end -}}
{{- $_ := set $config "protection" (dict "keys" $keys) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The files of /etc/gatehouse/secrets: sources of a projected volume. */}}
{{- define "gatehouse.sidecar.secretSources" -}}
{{- $sources := list -}}
{{- with .values.audit -}}
{{- if and .enabled .signingKey.secret -}}
{{- $sources = append $sources (dict "secret" (dict "name" .signingKey.secret "items" (list (dict "key" .signingKey.key "path" "audit-signing.key")))) -}}
{{- end -}}
{{- end -}}
{{- with .values.sharedLimits.redis -}}
{{- if and .address .password.secret -}}
{{- $sources = append $sources (dict "secret" (dict "name" .password.secret "items" (list (dict "key" .password.key "path" "redis-password")))) -}}
{{- end -}}
{{- if and .address .tls.secret -}}
{{- $items := list (dict "key" "ca.crt" "path" "redis-ca.crt") -}}
{{- if .tls.clientCertificate -}}
{{- $items = concat $items (list (dict "key" "tls.crt" "path" "redis-tls.crt") (dict "key" "tls.key" "path" "redis-tls.key")) -}}
{{- end -}}
{{- $sources = append $sources (dict "secret" (dict "name" .tls.secret "items" $items)) -}}
{{- end -}}
{{- end -}}
{{- range .values.protection.keys -}}
{{- $sources = append $sources (dict "secret" (dict "name" .secret "items" (list (dict "key" .key "path" (printf "protection/%s" .name))))) -}}
{{- end -}}
{{- toYaml $sources -}}
{{- end -}}

{{/* The volume for the record of decisions. */}}
{{- define "gatehouse.audit.volume" -}}
{{- with .values.audit.storage -}}
{{- if eq .kind "emptyDir" -}}
emptyDir: { sizeLimit: {{ .size }} }
{{- else if eq .kind "ephemeral" -}}
ephemeral:
  volumeClaimTemplate:
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources: { requests: { storage: {{ .size }} } }
{{- else if eq .kind "claim" -}}
persistentVolumeClaim: { claimName: {{ .claim }} }
{{- else -}}
hostPath: { path: {{ .path }}, type: Directory }
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" when pods share the volume. */}}
{{- define "gatehouse.audit.isShared" -}}
{{- if and .values.audit.enabled .sidecar.inbound (not .sidecar.auditVolume) (has .values.audit.storage.kind (list "claim" "hostPath")) }}true{{ end -}}
{{- end -}}

{{/* "true" when the bundle is not beside the certificate: a CSI driver's volume cannot be projected together with a ConfigMap. */}}
{{- define "gatehouse.identity.hasBundleVolume" -}}
{{- if and (eq .values.identity.source "cert-manager-csi") .values.identity.bundle.configMap }}true{{ end -}}
{{- end -}}
