{{/* (dict "context" $ "values" .Values "endpoint" "https://…") → the keys of a configuration that name a collector, as JSON. */}}
{{- define "gatehouse.otlp" -}}
{{- $keys := dict -}}
{{- with .endpoint }}{{ $_ := set $keys "otlpEndpoint" . }}{{ end -}}
{{- if hasPrefix "https:" .endpoint -}}
{{- with .values.telemetry.tls -}}
{{- $tls := dict -}}
{{- if .secret }}{{ $_ := set $tls "caFile" "/etc/gatehouse/telemetry/ca.crt" }}{{ end -}}
{{- if .clientCertificate -}}
{{- $_ := set $tls "certificateFile" "/etc/gatehouse/telemetry/tls.crt" -}}
{{- $_ := set $tls "keyFile" "/etc/gatehouse/telemetry/tls.key" -}}
{{- end -}}
{{- with .serverName }}{{ $_ := set $tls "serverName" . }}{{ end -}}
{{- if $tls }}{{ $_ := set $keys "otlpTls" $tls }}{{ end -}}
{{- end -}}
{{- if .values.telemetry.headers.secret }}{{ $_ := set $keys "otlpHeadersFile" "/etc/gatehouse/telemetry/headers" }}{{ end -}}
{{- end -}}
{{- toJson $keys -}}
{{- end -}}

{{/* (dict "context" $ "values" .Values) → where spans go: to the release's collector, where it has one. */}}
{{- define "gatehouse.otlpEndpoint" -}}
{{- if .values.collector.enabled -}}
http://{{ include "gatehouse.collectorName" . }}.{{ .context.Release.Namespace }}.svc:4317
{{- else -}}
{{- .values.telemetry.otlpEndpoint -}}
{{- end -}}
{{- end -}}

{{- define "gatehouse.collectorName" -}}
{{- printf "%s-collector" (include "gatehouse.fullname" (dict "Values" .values "Release" .context.Release)) -}}
{{- end -}}

{{/* (dict "values" .Values) → a volume with files of TLS and headers towards a collector; nothing where there are none. */}}
{{- define "gatehouse.telemetryVolume" -}}
{{- $sources := list -}}
{{- with .values.telemetry.tls -}}
{{- if .secret -}}
{{- $items := list (dict "key" "ca.crt" "path" "ca.crt") -}}
{{- if .clientCertificate -}}
{{- $items = concat $items (list (dict "key" "tls.crt" "path" "tls.crt") (dict "key" "tls.key" "path" "tls.key")) -}}
{{- end -}}
{{- $sources = append $sources (dict "secret" (dict "name" .secret "items" $items)) -}}
{{- end -}}
{{- end -}}
{{- with .values.telemetry.headers -}}
{{- if .secret -}}
{{- $sources = append $sources (dict "secret" (dict "name" .secret "items" (list (dict "key" .key "path" "headers")))) -}}
{{- end -}}
{{- end -}}
{{- if $sources -}}
- name: gatehouse-telemetry
  projected:
    defaultMode: 288 # 0440
    sources: {{- toYaml $sources | nindent 6 }}
{{- end -}}
{{- end -}}

{{- define "gatehouse.telemetryMount" -}}
{{- if include "gatehouse.telemetryVolume" . -}}
- { name: gatehouse-telemetry, mountPath: /etc/gatehouse/telemetry, readOnly: true }
{{- end -}}
{{- end -}}

{{- define "gatehouse.telemetryProblems" -}}
{{- with .Values.telemetry -}}
{{- if and .tls.clientCertificate (not .tls.secret) }}
telemetry.tls.clientCertificate is true and telemetry.tls.secret is missing: set it to the Secret with ca.crt, tls.crt and tls.key.
{{- end }}
{{- if and (or .tls.secret .headers.secret) (not (hasPrefix "https:" .otlpEndpoint)) }}
telemetry.otlpEndpoint is {{ .otlpEndpoint | default "empty" }} and telemetry.tls or telemetry.headers is given: set it to an https URL.
{{- end }}
{{- end -}}
{{- with .Values.collector -}}
{{- if .enabled -}}
{{- if not .image }}
collector.image is missing: set it to an image of the OpenTelemetry collector with the tail_sampling processor, such as otel/opentelemetry-collector-contrib:0.140.1.
{{- end }}
{{- if not .endpoint }}
collector.endpoint is missing: set it to where kept traces go, such as jaeger.observability:4317.
{{- end }}
{{- if lt (float64 $.Values.telemetry.sampleRatio) 1.0 }}
collector.enabled is true and telemetry.sampleRatio is {{ $.Values.telemetry.sampleRatio }}: set it to 1, because the collector cannot keep what it never gets.
{{- end }}
{{- if $.Values.telemetry.otlpEndpoint }}
collector.enabled is true and telemetry.otlpEndpoint is given: leave it empty, spans go to the collector, which has an endpoint of its own.
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}
