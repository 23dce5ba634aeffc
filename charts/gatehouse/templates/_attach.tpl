{{/*
The sidecar for a workload of a chart that depends on this one. Takes
  context   the chart's $
  values    this chart's values in it: .Values.gatehouse
  workload  a Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob, as a dict; values.workloads has a block of its name
and gives it back with the sidecar in its pods, and the objects that the sidecar needs.
*/}}
{{- define "gatehouse.attach" -}}
{{- $workload := deepCopy .workload -}}
{{- $of := printf "%s %s" $workload.kind $workload.metadata.name -}}
{{- $name := $workload.metadata.name -}}
{{- if not (hasKey .values.workloads $name) -}}
{{- fail (printf "\nworkloads.%s is missing: describe the sidecar of %s there, with inbound, upstreams or both." $name $of) -}}
{{- end -}}
{{- $block := index .values.workloads $name -}}
{{- if not (or $block.inbound $block.upstreams) -}}
{{- fail (printf "\nworkloads.%s has neither inbound nor upstreams: the sidecar of %s would have nothing to do." $name $of) -}}
{{- end -}}
{{- $template := dict -}}
{{- if has $workload.kind (list "Deployment" "StatefulSet" "DaemonSet" "ReplicaSet" "Job") -}}
{{- $template = $workload.spec.template -}}
{{- else if eq $workload.kind "CronJob" -}}
{{- $template = $workload.spec.jobTemplate.spec.template -}}
{{- else -}}
{{- fail (printf "\n%s cannot have a sidecar: expected a Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob." $of) -}}
{{- end -}}
{{- $pod := $template.spec -}}
{{- $kubernetesApi := false -}}
{{- range $block.upstreams }}{{ if .service }}{{ $kubernetesApi = true }}{{ end }}{{ end -}}
{{- $sidecar := merge (dict "name" $name "serviceAccount" ($pod.serviceAccountName | default "default") "egress" (not (empty $block.upstreams)) "kubernetesApi" $kubernetesApi) $block -}}
{{- $with := dict "context" .context "values" .values "sidecar" $sidecar "pod" $pod -}}
{{- $drainSeconds := div (add (include "gatehouse.sidecar.drainMs" $with) 999) 1000 | int -}}
{{- if not (hasKey $pod "terminationGracePeriodSeconds") -}}
{{- $_ := set $pod "terminationGracePeriodSeconds" (add $drainSeconds 10) -}}
{{- else if le (int $pod.terminationGracePeriodSeconds) $drainSeconds -}}
{{- fail (printf "\n%s has terminationGracePeriodSeconds %v, too short for the drain: sidecar.limits.drainNoticeMs, sidecar.limits.drainMsMax and a second to notice need %d, and its app time to end." $of $pod.terminationGracePeriodSeconds $drainSeconds) -}}
{{- end -}}
{{- $_ := set $template "spec" (include "gatehouse.sidecar" $with | fromYaml) -}}
{{- $metadata := $template.metadata | default dict -}}
{{- $component := dict "context" .context "component" $name -}}
{{- $_ := set $metadata "labels" (merge (include "gatehouse.podLabels" $component | fromYaml) ($metadata.labels | default dict)) -}}
{{- $_ := set $metadata "annotations" (merge (include "gatehouse.sidecar.checksum" $with | fromYaml) ($metadata.annotations | default dict)) -}}
{{- $_ := set $template "metadata" $metadata -}}
{{ include "gatehouse.sidecar.objects" $with }}
{{- range $namespace := include "gatehouse.watchedNamespaces" $block | fromJsonArray }}
---
{{ include "gatehouse.endpointReader" (dict "context" $.context "component" $name "name" (printf "%s-endpoints" $name) "serviceAccount" $sidecar.serviceAccount "namespace" $namespace) }}
{{- end }}
{{- with include "gatehouse.networkPolicy" (dict "context" .context "values" .values "component" $name "name" (printf "%s-sidecar" $name) "selector" (include "gatehouse.podLabels" $component) "inbound" $sidecar.inbound "egress" (include "gatehouse.workloadEgress" $with | fromJsonArray) "ports" list) }}
---
{{ . }}
{{- end }}
---
{{ toYaml $workload }}
{{- end -}}

{{/* A block of values.workloads → the namespaces whose EndpointSlices its sidecar watches, as a JSON list. */}}
{{- define "gatehouse.watchedNamespaces" -}}
{{- $namespaces := list -}}
{{- range .upstreams }}{{ with .service }}{{ $namespaces = append $namespaces (splitList "/" . | first) }}{{ end }}{{ end -}}
{{- toJson (uniq $namespaces) -}}
{{- end -}}

{{/* Whom a workload calls, as a JSON list of rules. */}}
{{- define "gatehouse.workloadEgress" -}}
{{- $to := .values.networkPolicy.egress -}}
{{- $rules := list -}}
{{- if .sidecar.kubernetesApi }}{{ $rules = append $rules (include "gatehouse.apiServerEgress" . | fromJson) }}{{ end -}}
{{- range .sidecar.upstreams -}}
{{- range compact (append (.endpoints | default list) .dns) -}}
{{- $rules = append $rules (include "gatehouse.egressRule" (dict "at" . "to" $to.upstreams) | fromJson) -}}
{{- end -}}
{{- if .service -}}
{{- $namespace := dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" (splitList "/" .service | first))) -}}
{{- $port := kindIs "string" .port | ternary .port (int .port) -}}
{{- $rules = append $rules (include "gatehouse.egressRule" (dict "ports" (list (dict "protocol" "TCP" "port" $port)) "to" (list $namespace)) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- toJson (uniq $rules) -}}
{{- end -}}

{{/* What the watch of EndpointSlices needs, in one namespace alone: context, component, name, serviceAccount, namespace. */}}
{{- define "gatehouse.endpointReader" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "gatehouse.labels" . | nindent 4 }}
rules:
  - apiGroups: [discovery.k8s.io]
    resources: [endpointslices]
    verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels: {{- include "gatehouse.labels" . | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ .serviceAccount }}
    namespace: {{ .context.Release.Namespace }}
{{- end -}}
