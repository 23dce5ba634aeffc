{{/*
What in the policy's values would not load, as far as it shows here: a sentence a line. Claims and conditions are known to the sidecar alone, which says so at
its start or goes on with the last good policy; `gatehouse policy test` asks before.
*/}}
{{- define "gatehouse.policyProblems" -}}
{{- $policy := .Values.policy -}}
{{- $given := list -}}
{{- range $key := list "rules" "jwtIssuers" "trustDomains" "limits" "detectors" "protections" "audit" -}}
{{- if index $policy $key }}{{ $given = append $given (printf "policy.%s" $key) }}{{ end -}}
{{- end -}}
{{- if and $policy.document $policy.existingConfigMap }}
policy.document and policy.existingConfigMap are both given: leave one of them out.
{{- else if and $given (or $policy.document $policy.existingConfigMap) }}
{{ $policy.document | empty | ternary (printf "policy.existingConfigMap is %s" $policy.existingConfigMap) "policy.document is given" }}, so {{ join ", " $given }} would not be used: leave them out, or the whole policy.
{{- end }}
{{- if and $policy.shadow.document $policy.shadow.existingConfigMap }}
policy.shadow.document and policy.shadow.existingConfigMap are both given: leave one of them out.
{{- end }}
{{- include "gatehouse.signatureProblems" . -}}
{{- include "gatehouse.documentProblems" (dict "key" "policy.document" "text" $policy.document) -}}
{{- include "gatehouse.documentProblems" (dict "key" "policy.shadow.document" "text" $policy.shadow.document) -}}
{{- include "gatehouse.entryProblems" . -}}
{{- include "gatehouse.contractProblems" . -}}
{{- end -}}

{{- define "gatehouse.signatureProblems" -}}
{{- with .Values.policy -}}
{{- if .signers -}}
{{- if and .document (not .signature) }}
policy.signature is missing: policy.signers ask for one over policy.document, so sign it with gatehouse policy sign.
{{- else if not (or .document .existingConfigMap) }}
policy.signers is given and nobody has signed a policy that is made from values: give policy.document with its policy.signature, or policy.existingConfigMap.
{{- end }}
{{- if and .shadow.document (not .shadow.signature) }}
policy.shadow.signature is missing: policy.signers ask for one over policy.shadow.document, so sign it with gatehouse policy sign.
{{- end }}
{{- else if or .signature .shadow.signature }}
{{ .signature | empty | ternary "policy.shadow.signature" "policy.signature" }} is given and policy.signers is missing: set it to the JWKS of those who may sign, or nobody would look at the signature.
{{- end }}
{{- if and .signature (not .document) }}
policy.signature is given and policy.document is missing: the signature is over a document's text, so give that as well.
{{- end }}
{{- if and .shadow.signature (not .shadow.document) }}
policy.shadow.signature is given and policy.shadow.document is missing: the signature is over a document's text, so give that as well.
{{- end }}
{{- end -}}
{{- end -}}

{{/* (dict "key" "policy.document" "text" "…") */}}
{{- define "gatehouse.documentProblems" -}}
{{- if .text -}}
{{- $known := list "version" "trustDomains" "contractDigest" "contractVersion" "includes" "jwtIssuers" "rules" "limits" "detectors" "protections" "audit" -}}
{{- $document := fromYaml .text -}}
{{- if hasKey $document "Error" }}
{{ .key }} is not YAML: {{ regexReplaceAll "\\s+" (toString $document.Error) " " }}.
{{- else -}}
{{- range $key, $_ := $document }}
{{- if not (has $key $known) }}
{{ $.key }} does not load: {{ $key }} is unknown, expected one of {{ join ", " $known }}.
{{- end }}
{{- end }}
{{- range $key := list "version" "trustDomains" }}
{{- if not (hasKey $document $key) }}
{{ $.key }} does not load: {{ $key }} is missing.
{{- end }}
{{- end }}
{{- if not (or (hasKey $document "rules") (hasKey $document "includes")) }}
{{ .key }} does not load: rules is missing.
{{- end }}
{{- if hasKey $document "includes" }}
{{ .key }} includes other files, which values cannot hold: put them and the document into a ConfigMap of yours, {{ trimSuffix "document" .key }}existingConfigMap.
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What lies between the entries of the values. */}}
{{- define "gatehouse.entryProblems" -}}
{{- $policy := .Values.policy -}}
{{- range $section, $key := dict "rules" "id" "limits" "id" "protections" "id" "jwtIssuers" "name" "detectors" "name" -}}
{{- $seen := list -}}
{{- range index $policy $section -}}
{{- $name := index . $key -}}
{{- if has $name $seen }}
policy.{{ $section }} has two entries with the {{ $key }} {{ $name }}: give each its own.
{{- end }}
{{- $seen = append $seen $name -}}
{{- end -}}
{{- end -}}
{{- $domains := prepend $policy.trustDomains .Values.trustDomain -}}
{{- $issuers := list -}}
{{- range $policy.jwtIssuers }}{{ $issuers = append $issuers .name }}{{ end -}}
{{- range $policy.rules -}}
{{- include "gatehouse.domainProblems" (dict "entry" (printf "rule %s" .id) "identities" .identities "domains" $domains) -}}
{{- if and .token (not (has .token.issuer $issuers)) }}
policy.rules: rule {{ .id }} asks for a token of {{ .token.issuer }}, which is not the name of one of policy.jwtIssuers.
{{- end }}
{{- end -}}
{{- range $section := list "limits" "protections" -}}
{{- range index $policy $section -}}
{{- include "gatehouse.domainProblems" (dict "entry" (printf "%s %s" (trimSuffix "s" $section) .id) "identities" (.match | default dict).identities "domains" $domains) -}}
{{- end -}}
{{- end -}}
{{- $keys := list -}}
{{- range .Values.protection.keys -}}
{{- if has .name $keys }}
protection.keys has two keys with the name {{ .name }}: give each its own.
{{- end }}
{{- $keys = append $keys .name -}}
{{- end -}}
{{- range $policy.protections -}}
{{- if and .key (not (has .key $keys)) }}
policy.protections: protection {{ .id }} makes pseudonyms with the key {{ .key }}, which is not the name of one of protection.keys.
{{- end }}
{{- end -}}
{{- end -}}

{{- define "gatehouse.domainProblems" -}}
{{- range .identities -}}
{{- $domain := regexReplaceAll "^spiffe://([^/]*).*$" . "${1}" -}}
{{- if and $.domains (first $.domains) (not (has $domain $.domains)) }}
policy: {{ $.entry }} names {{ . }}, whose trust domain is neither trustDomain nor one of policy.trustDomains.
{{- end }}
{{- end -}}
{{- end -}}

{{/* Methods and permissions that Gatehouse's contract does not have. Where a workload has a contract of its own, names may be that one's. */}}
{{- define "gatehouse.contractProblems" -}}
{{- $isForeign := false -}}
{{- range .Values.workloads }}{{ if .contract }}{{ $isForeign = true }}{{ end }}{{ end -}}
{{- if not $isForeign -}}
{{- $contract := .Files.Get "files/contract.json" | fromJson -}}
{{- $methods := $contract.methods -}}
{{- range $contract.methods }}{{ $methods = append $methods (regexReplaceAll "/.*$" . "/*") }}{{ end -}}
{{- range $section := list "rules" "limits" "protections" -}}
{{- range $entry := index $.Values.policy $section -}}
{{- $named := eq $section "rules" | ternary $entry ($entry.match | default dict) -}}
{{- range $named.permissions -}}
{{- if not (has . $contract.permissions) }}
policy.{{ $section }}: {{ $entry.id }} names the permission {{ . }}, which no method has: expected one of {{ join ", " $contract.permissions }}.
{{- end }}
{{- end -}}
{{- range $named.methods -}}
{{- if not (has . $methods) }}
policy.{{ $section }}: {{ $entry.id }} names the method {{ . }}, which the contract does not have: expected one such as {{ first $methods }} or {{ last $methods }}.
{{- end }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
