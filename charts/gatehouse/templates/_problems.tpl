{{/* What in the values contradicts itself or is missing: a sentence a line, all at once. Types and unknown keys are the schema's. */}}
{{- define "gatehouse.problems" -}}
{{- include "gatehouse.imageProblems" . -}}
{{- include "gatehouse.identityProblems" . -}}
{{- include "gatehouse.modelProblems" . -}}
{{- range $name := include "gatehouse.enabled" . | fromJsonArray -}}
{{- include "gatehouse.serviceProblems" (dict "context" $ "component" $name) -}}
{{- end -}}
{{- if eq (int .Values.sidecar.ports.mtls) (int .Values.sidecar.ports.telemetry) }}
sidecar.ports.telemetry is {{ .Values.sidecar.ports.telemetry }}, as sidecar.ports.mtls: give them different ports.
{{- end }}
{{- if has (int .Values.telemetry.servicePort) (list (int .Values.sidecar.ports.mtls) (int .Values.sidecar.ports.telemetry)) }}
telemetry.servicePort is {{ .Values.telemetry.servicePort }}, as a port of the sidecar: give it a port of its own.
{{- end }}
{{- include "gatehouse.telemetryProblems" . -}}
{{- if and .Values.networkPolicy.egress.enabled (not .Values.networkPolicy.enabled) }}
networkPolicy.egress.enabled is true and networkPolicy.enabled is false: nothing would be restricted, so enable it as well.
{{- end }}
{{- include "gatehouse.policyProblems" . -}}
{{- include "gatehouse.auditProblems" . -}}
{{- include "gatehouse.storeProblems" . -}}
{{- end -}}

{{- define "gatehouse.imageProblems" -}}
{{- if not .Values.images.registry }}
images.registry is missing: set it to the registry that has the images, such as images.example.org/platform.
{{- end }}
{{- if not .Values.images.tag -}}
{{- $images := dict "sidecar" .Values.sidecar.image -}}
{{- if eq .Values.models.source "fetch" }}{{ $_ := set $images "models.fetch" .Values.models.fetch.image }}{{ end -}}
{{- range include "gatehouse.enabled" . | fromJsonArray }}{{ $_ := set $images . (index $.Values .).image }}{{ end -}}
{{- $without := list -}}
{{- range $name, $image := $images }}{{ if not $image.digest }}{{ $without = append $without (printf "%s.image.digest" $name) }}{{ end }}{{ end -}}
{{- if $without }}
images.tag is missing: set it to the images' tag, or set each of {{ join ", " $without }}.
{{- end }}
{{- end -}}
{{- end -}}

{{- define "gatehouse.identityProblems" -}}
{{- if not .Values.trustDomain }}
trustDomain is missing: set it to the SPIFFE trust domain of the mesh, such as example.org.
{{- end }}
{{- if not .Values.identity.source }}
identity.source is missing: set it to secret (Secrets of your own), cert-manager, cert-manager-csi or workload-api.
{{- else if eq .Values.identity.source "cert-manager" }}
{{- if not .Values.identity.certManager.issuerRef.name }}
identity.source is cert-manager and identity.certManager.issuerRef.name is missing: set it to an issuer that signs SPIFFE URI names.
{{- end }}
{{- else if eq .Values.identity.source "workload-api" }}
{{- if not (values .Values.identity.workloadApi.volume | compact) }}
identity.source is workload-api and identity.workloadApi.volume is missing: set it to the volume with the agent's socket, such as csi with its driver.
{{- end }}
{{- else if eq .Values.identity.source "secret" }}
{{- range $name := include "gatehouse.enabled" . | fromJsonArray }}
{{- if not (index $.Values.identity.secrets $name) }}
identity.source is secret and identity.secrets.{{ $name }} is missing: set it to the Secret with tls.crt, tls.key and ca.crt of {{ include "gatehouse.spiffeId" (dict "context" $ "values" $.Values "serviceAccount" (include "gatehouse.objectName" (dict "context" $ "component" $name))) }}.
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "gatehouse.modelProblems" -}}
{{- $readers := list -}}
{{- range $name := list "inference" "embeddings" -}}
{{- if and (index $.Values $name).enabled (include "gatehouse.readsModelFiles" (dict "context" $ "component" $name)) }}{{ $readers = append $readers $name }}{{ end -}}
{{- end -}}
{{- if $readers -}}
{{- $who := printf "%s %s model files" (join " and " $readers) (eq (len $readers) 1 | ternary "reads" "read") -}}
{{- if not .Values.models.source }}
models.source is missing: {{ $who }}, so set it to volume or fetch.
{{- else if eq .Values.models.source "none" }}
models.source is none and {{ $who }}: set it to volume or fetch, or take these models out.
{{- else if and (eq .Values.models.source "volume") (not (values .Values.models.volume | compact)) }}
models.source is volume and models.volume is missing: set it to a volume source, such as persistentVolumeClaim with its claimName.
{{- end }}
{{- end -}}
{{- end -}}

{{- define "gatehouse.serviceProblems" -}}
{{- $name := .component -}}
{{- $values := index .context.Values $name -}}
{{- $drainMs := include "gatehouse.sidecar.drainMs" (dict "values" .context.Values "sidecar" (dict "inbound" true)) -}}
{{- $needsMs := int64 (add $drainMs $values.drainMsMax) -}}
{{- if lt (int64 (mul $values.terminationGracePeriodSeconds 1000)) $needsMs }}
{{ $name }}.terminationGracePeriodSeconds is {{ $values.terminationGracePeriodSeconds }}, too short for the drain: sidecar.limits.drainNoticeMs, sidecar.limits.drainMsMax, a second to notice and {{ $name }}.drainMsMax need {{ div (add $needsMs 999) 1000 }}.
{{- end }}
{{- include "gatehouse.scalingProblems" . -}}
{{- $pods := $values.autoscaling.enabled | ternary $values.autoscaling.minReplicas $values.replicas -}}
{{- $key := $values.autoscaling.enabled | ternary "autoscaling.minReplicas" "replicas" -}}
{{- if and $values.podDisruptionBudget.enabled (ge (int $values.podDisruptionBudget.minAvailable) (int $pods)) }}
{{ $name }}.podDisruptionBudget.minAvailable is {{ $values.podDisruptionBudget.minAvailable }} and {{ $name }}.{{ $key }} is {{ $pods }}: no node could ever be emptied, so set it below.
{{- end }}
{{- if eq $name "orchestration" -}}
{{- range $upstream := list "inference" "embeddings" -}}
{{- $given := index $values.upstreams $upstream -}}
{{- if and (not (index $.context.Values $upstream).enabled) (not (and $given.identity $given.endpoints)) }}
orchestration.upstreams.{{ $upstream }} is missing: {{ $upstream }} is not installed here, so set its identity and endpoints.
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gatehouse.scalingProblems" -}}
{{- $name := .component -}}
{{- $replicas := int (index .context.Values $name).replicas -}}
{{- with (index .context.Values $name).autoscaling -}}
{{- if .enabled -}}
{{- $least := int .minReplicas -}}
{{- $most := int .maxReplicas -}}
{{- if gt $least $most }}
{{ $name }}.autoscaling.minReplicas is {{ $least }}, more than its maxReplicas, {{ $most }}.
{{- else if and (ne $replicas 1) (or (lt $replicas $least) (gt $replicas $most)) }}
{{ $name }}.replicas is {{ $replicas }} and {{ $name }}.autoscaling.enabled is true, from {{ $least }} to {{ $most }} pods: leave replicas out, or set it within them.
{{- end }}
{{- $queueDepth := .targetQueueDepth | default 0 | int -}}
{{- $tokens := .targetTokensPerSecond | default 0 | int -}}
{{- if not (or (int .targetCpuPercent) $queueDepth $tokens) }}
{{ $name }}.autoscaling.enabled is true and each of its targets is 0: set one of them.
{{- end }}
{{- if and (eq .by "keda") (or $queueDepth $tokens) (not $.context.Values.keda.prometheusAddress) }}
{{ $name }}.autoscaling.by is keda and keda.prometheusAddress is missing: set it, because {{ ternary "targetQueueDepth" "targetTokensPerSecond" (gt $queueDepth 0) }} is asked of Prometheus.
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gatehouse.auditProblems" -}}
{{- with .Values.audit -}}
{{- if .enabled -}}
{{- $needs := mul (add1 .limits.segmentsKeptMax) .limits.segmentBytesMax -}}
{{- if and (has .storage.kind (list "emptyDir" "ephemeral")) (lt (include "gatehouse.bytes" .storage.size | int64) $needs) }}
audit.storage.size is {{ .storage.size }}, less than what audit.limits keep: segmentsKeptMax and one more of segmentBytesMax need {{ div (add $needs 1048575) 1048576 }}Mi.
{{- end }}
{{- if and (eq .storage.kind "claim") (not .storage.claim) }}
audit.storage.kind is claim and audit.storage.claim is missing: set it to a claim that many pods may write to.
{{- end }}
{{- if and (eq .storage.kind "hostPath") (not .storage.path) }}
audit.storage.kind is hostPath and audit.storage.path is missing: set it to a folder that every node has.
{{- end }}
{{- else if and $.Values.policy.audit (not (has ($.Values.policy.audit.onFailure | default "REFUSE") (list "CONTINUE" "AUDIT_FAILURE_CONTINUE"))) }}
policy.audit is given and audit.enabled is false: sidecars would refuse every call, so enable it, or set policy.audit.onFailure to CONTINUE.
{{- end }}
{{- end -}}
{{- end -}}

{{/* A quantity in bytes, for comparison. */}}
{{- define "gatehouse.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "P" 1000000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 -}}
{{- $text := toString . -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (index $units (regexFind "[A-Za-z]*$" $text) | default 1 | float64) | int64 -}}
{{- end -}}

{{- define "gatehouse.storeProblems" -}}
{{- with .Values.sharedLimits.redis -}}
{{- if not .address -}}
{{- $given := list -}}
{{- if .password.secret }}{{ $given = append $given "password.secret" }}{{ end -}}
{{- if .tls.secret }}{{ $given = append $given "tls.secret" }}{{ end -}}
{{- if .username }}{{ $given = append $given "username" }}{{ end -}}
{{- if $given }}
sharedLimits.redis.address is missing and {{ join ", " $given }} of it is given: set it to the server's host:port.
{{- end }}
{{- range $.Values.policy.limits -}}
{{- if has (.store | default "MEMORY") (list "SHARED" "LIMIT_STORE_SHARED") }}
sharedLimits.redis.address is missing: limit {{ .id }} of policy.limits is counted in the shared store, so set it to the server's host:port.
{{- end }}
{{- end }}
{{- end -}}
{{- if and .username (not .password.secret) }}
sharedLimits.redis.username is {{ .username }} and sharedLimits.redis.password.secret is missing: set it to the Secret with the user's password.
{{- end }}
{{- if and .tls.clientCertificate (not .tls.secret) }}
sharedLimits.redis.tls.clientCertificate is true and sharedLimits.redis.tls.secret is missing: set it to the Secret with ca.crt, tls.crt and tls.key.
{{- end }}
{{- end -}}
{{- end -}}
