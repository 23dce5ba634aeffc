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
{{- if and .Values.policy.existingConfigMap (or .Values.policy.rules .Values.policy.jwtIssuers .Values.policy.trustDomains) }}
policy.existingConfigMap is {{ .Values.policy.existingConfigMap }}, so policy.rules, policy.jwtIssuers and policy.trustDomains would not be used: leave them out, or the ConfigMap.
{{- end }}
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
identity.source is missing: set it to secret (Secrets of your own), cert-manager or workload-api.
{{- else if eq .Values.identity.source "cert-manager" }}
{{- if not .Values.identity.certManager.issuerRef.name }}
identity.source is cert-manager and identity.certManager.issuerRef.name is missing: set it to an issuer that signs SPIFFE URI names.
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
{{- $limits := .context.Values.sidecar.limits -}}
{{- $needsMs := int64 (add $limits.drainNoticeMs $limits.drainMsMax 1000 $values.drainMsMax) -}}
{{- if lt (int64 (mul $values.terminationGracePeriodSeconds 1000)) $needsMs }}
{{ $name }}.terminationGracePeriodSeconds is {{ $values.terminationGracePeriodSeconds }}, too short for the drain: sidecar.limits.drainNoticeMs, sidecar.limits.drainMsMax, a second to notice and {{ $name }}.drainMsMax need {{ div (add $needsMs 999) 1000 }}.
{{- end }}
{{- $pods := $values.autoscaling.enabled | ternary $values.autoscaling.minReplicas $values.replicas -}}
{{- $key := $values.autoscaling.enabled | ternary "autoscaling.minReplicas" "replicas" -}}
{{- if and $values.podDisruptionBudget.enabled (ge (int $values.podDisruptionBudget.minAvailable) (int $pods)) }}
{{ $name }}.podDisruptionBudget.minAvailable is {{ $values.podDisruptionBudget.minAvailable }} and {{ $name }}.{{ $key }} is {{ $pods }}: no node could ever be emptied, so set it below.
{{- end }}
{{- if and $values.autoscaling.enabled (gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) }}
{{ $name }}.autoscaling.minReplicas is {{ $values.autoscaling.minReplicas }}, more than its maxReplicas, {{ $values.autoscaling.maxReplicas }}.
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
