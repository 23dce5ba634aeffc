{{/*
Who may reach the pods of a workload, and whom they may reach:
  context, values   as in _sidecar.tpl
  component, name   of the workload, and of the object
  selector          labels of the pods, as YAML
  inbound           whether calls come in
  ports             further ports with metrics
  egress            rules for those whom it calls
*/}}
{{- define "gatehouse.networkPolicy" -}}
{{- if .values.networkPolicy.enabled -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  labels: {{- include "gatehouse.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- .selector | nindent 6 }}
  policyTypes: {{ .values.networkPolicy.egress.enabled | ternary "[Ingress, Egress]" "[Ingress]" }}
  # Ports by number: not every network plugin knows the names that a native sidecar gives them.
  ingress:
    {{- if .inbound }}
    - ports:
        - { protocol: TCP, port: {{ .values.sidecar.ports.mtls }} }
      {{- with .values.networkPolicy.callers }}
      from:
        {{- toYaml . | nindent 8 }}
        {{- if include "gatehouse.meshTest" (dict "Values" $.values) }}
        - podSelector:
            matchLabels: {{- include "gatehouse.podLabels" (dict "context" $.context "component" "mesh-test") | nindent 14 }}
        {{- end }}
      {{- end }}
    {{- end }}
    {{- with .values.networkPolicy.telemetryNamespaceLabels }}
    - ports:
        {{- range prepend $.ports $.values.sidecar.ports.telemetry }}
        - { protocol: TCP, port: {{ . }} }
        {{- end }}
      from:
        - namespaceSelector:
            matchLabels: {{- toYaml . | nindent 14 }}
    {{- end }}
    {{- if not (or .inbound .values.networkPolicy.telemetryNamespaceLabels) }} []{{ end }}
  {{- if .values.networkPolicy.egress.enabled }}
  egress: {{- include "gatehouse.egressRules" . | nindent 4 }}
  {{- end }}
{{- end -}}
{{- end -}}

{{/* What every sidecar needs, whom the workload calls (`egress`), and what the values add. */}}
{{- define "gatehouse.egressRules" -}}
{{- $to := .values.networkPolicy.egress -}}
{{- $dns := list -}}
{{- range $to.dnsPorts }}{{ $dns = concat $dns (list (dict "protocol" "UDP" "port" (int .)) (dict "protocol" "TCP" "port" (int .))) }}{{ end -}}
{{- $rules := list (include "gatehouse.egressRule" (dict "ports" $dns "to" $to.dns) | fromJson) -}}
{{- range $url := list (include "gatehouse.otlpEndpoint" .) .values.audit.otlpEndpoint | compact | uniq -}}
{{- $rules = append $rules (include "gatehouse.egressRule" (dict "at" $url "to" $to.collector) | fromJson) -}}
{{- end -}}
{{- with .values.sharedLimits.redis.address -}}
{{- $rules = append $rules (include "gatehouse.egressRule" (dict "at" . "to" $to.redis) | fromJson) -}}
{{- end -}}
{{- range .values.policy.jwtIssuers -}}
{{- with .jwksUrl }}{{ $rules = append $rules (include "gatehouse.egressRule" (dict "at" . "to" $to.tokenKeys) | fromJson) }}{{ end -}}
{{- end -}}
{{- toYaml (concat $rules .egress $to.more | uniq) -}}
{{- end -}}

{{/* (dict "at" "host:port" or "https://…", or "ports" […]; "to" peers) → one rule, as JSON. No peers: anybody. */}}
{{- define "gatehouse.egressRule" -}}
{{- $ports := .ports -}}
{{- with .at -}}
{{- $authority := regexReplaceAll "^[a-z]+://([^/]*).*$" . "${1}" -}}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" | default (hasPrefix "https:" . | ternary "443" "80") -}}
{{- $ports = list (dict "protocol" "TCP" "port" (int $port)) -}}
{{- end -}}
{{- $rule := dict "ports" $ports -}}
{{- with .to }}{{ $_ := set $rule "to" . }}{{ end -}}
{{- toJson $rule -}}
{{- end -}}

{{/* (dict "values" .Values) → the rule for the API server, as JSON. */}}
{{- define "gatehouse.apiServerEgress" -}}
{{- $ports := list -}}
{{- range .values.networkPolicy.egress.apiServerPorts }}{{ $ports = append $ports (dict "protocol" "TCP" "port" (int .)) }}{{ end -}}
{{- include "gatehouse.egressRule" (dict "ports" $ports "to" .values.networkPolicy.egress.apiServer) -}}
{{- end -}}

{{/* Whom a service of this chart calls, as a JSON list of rules: (dict "context" $ "component" "orchestration"). */}}
{{- define "gatehouse.serviceEgress" -}}
{{- $values := .context.Values -}}
{{- $to := $values.networkPolicy.egress -}}
{{- $rules := list -}}
{{- if eq .component "inference" -}}
{{- range $values.inference.models -}}
{{- with .baseUrl }}{{ $rules = append $rules (include "gatehouse.egressRule" (dict "at" . "to" $to.models) | fromJson) }}{{ end -}}
{{- end -}}
{{- else if eq .component "orchestration" -}}
{{- if eq $values.orchestration.discovery "kubernetes" -}}
{{- $rules = append $rules (include "gatehouse.apiServerEgress" (dict "values" $values) | fromJson) -}}
{{- end -}}
{{- range $name := list "inference" "embeddings" -}}
{{- $endpoints := (index $values.orchestration.upstreams $name).endpoints -}}
{{- range $endpoints }}{{ $rules = append $rules (include "gatehouse.egressRule" (dict "at" . "to" $to.upstreams) | fromJson) }}{{ end -}}
{{- if not $endpoints -}}
{{- $pods := dict "podSelector" (dict "matchLabels" (include "gatehouse.selectorLabels" (dict "context" $.context "component" $name) | fromYaml)) -}}
{{- $rules = append $rules (include "gatehouse.egressRule" (dict "ports" (list (dict "protocol" "TCP" "port" (int $values.sidecar.ports.mtls))) "to" (list $pods)) | fromJson) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $rules -}}
{{- end -}}
