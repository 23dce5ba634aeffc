{{/* The services of this chart that are installed, as a JSON list. */}}
{{- define "gatehouse.enabled" -}}
{{- $names := list -}}
{{- range $name := list "inference" "embeddings" "orchestration" -}}
{{- if (index $.Values $name).enabled }}{{ $names = append $names $name }}{{ end -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* The beginning of all names: the release's name, with the chart's where it does not hold it yet. Room is left for what follows. */}}
{{- define "gatehouse.fullname" -}}
{{- $name := .Values.fullnameOverride | default (contains "gatehouse" .Release.Name | ternary .Release.Name (printf "%s-gatehouse" .Release.Name)) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* (dict "context" $ "component" "inference") → labels that never change: Deployments cannot change their selectors. */}}
{{- define "gatehouse.selectorLabels" -}}
app.kubernetes.io/name: gatehouse
app.kubernetes.io/instance: {{ .context.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* (dict "context" $ "component" "inference") → labels of an object. */}}
{{- define "gatehouse.labels" -}}
{{ include "gatehouse.selectorLabels" . }}
app.kubernetes.io/part-of: gatehouse
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* (dict "context" $ "component" "inference") → labels of all pods with a sidecar, those of other charts as well. */}}
{{- define "gatehouse.podLabels" -}}
gatehouse.dev/release: {{ .context.Release.Name }}
gatehouse.dev/workload: {{ .component }}
{{- end -}}

{{/* (dict "values" .Values "image" .Values.sidecar.image) → registry/repository:tag, or with the digest where there is one. */}}
{{- define "gatehouse.image" -}}
{{- $at := empty .image.digest | ternary (printf ":%s" .values.images.tag) (printf "@%s" .image.digest) -}}
{{- printf "%s/%s%s" (trimSuffix "/" .values.images.registry) .image.repository $at -}}
{{- end -}}

{{/* (dict "context" $ "values" .Values "serviceAccount" "x") → the SPIFFE ID of a workload in the release's namespace. */}}
{{- define "gatehouse.spiffeId" -}}
{{- printf "spiffe://%s/ns/%s/sa/%s" .values.trustDomain .context.Release.Namespace .serviceAccount -}}
{{- end -}}

{{/* What Pod Security "restricted" asks of a container, and a root file system that cannot be written. */}}
{{- define "gatehouse.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: { drop: [ALL] }
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{/* (dict "context" $ "values" .Values) → the ConfigMap with the policy. */}}
{{- define "gatehouse.policyName" -}}
{{- $own := printf "%s-policy" (include "gatehouse.fullname" (dict "Values" .values "Release" .context.Release)) -}}
{{- .values.policy.existingConfigMap | default $own -}}
{{- end -}}

{{/* (dict "context" $ "values" .Values) → the ConfigMap with the policy in shadow; empty: there is none. */}}
{{- define "gatehouse.shadowName" -}}
{{- $own := .values.policy.shadow.document | empty | ternary "" (printf "%s-policy-shadow" (include "gatehouse.fullname" (dict "Values" .values "Release" .context.Release))) -}}
{{- .values.policy.shadow.existingConfigMap | default $own -}}
{{- end -}}
