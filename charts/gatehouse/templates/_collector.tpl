{{/* The collector's configuration: keeps every trace with an error, a refusal, another try or a slow call, and a share of the others. */}}
{{- define "gatehouse.collectorConfig" -}}
receivers:
  otlp:
    protocols:
      grpc: { endpoint: "0.0.0.0:4317" }
processors:
  memory_limiter: { check_interval: 1s, limit_percentage: 80, spike_limit_percentage: 20 }
  tail_sampling:
    # How long the spans of a trace are waited for; it begins with the first.
    decision_wait: {{ .Values.collector.decisionWait }}
    # Traces that wait; the oldest is decided on early when there are more.
    num_traces: {{ int .Values.collector.tracesMax }}
    policies:
      - name: errors
        type: status_code
        status_code: { status_codes: [ERROR] }
      - name: refusals
        type: string_attribute
        string_attribute: { key: gatehouse.refusal.reason, values: [".+"], enabled_regex_matching: true }
      - name: tried-again
        type: numeric_attribute
        numeric_attribute: { key: gatehouse.retry.number, min_value: 1, max_value: 1000 }
      - name: slow
        type: latency
        latency: { threshold_ms: {{ int .Values.collector.slowMsMin }} }
      - name: share
        type: probabilistic
        probabilistic: { sampling_percentage: {{ .Values.collector.sharePercent }} }
  batch: { timeout: 1s, send_batch_size: 1024, send_batch_max_size: 2048 }
exporters:
  otlp:
    endpoint: {{ .Values.collector.endpoint | quote }}
    tls: { insecure: {{ .Values.collector.plaintext }} }
service:
  telemetry:
    metrics: { level: none }
  pipelines:
    traces: { receivers: [otlp], processors: [memory_limiter, tail_sampling, batch], exporters: [otlp] }
{{- end -}}
