{{- define "clb-direct.settings" -}}
CLUSTER_ID: {{ required "clusterId: it is missing; the cluster's id, as CLUSTER_ID of the functions" .Values.clusterId | quote }}
CLAIM: {{ .Values.claim | quote }}
NETWORK: {{ .Values.network | quote }}
TRANSPORT: {{ .Values.transport.type | quote }}
{{- if eq .Values.transport.type "url" }}
{{- range $name := list "frontend" "backends" "readiness" }}
URL_{{ upper $name }}: {{ required (printf "transport.urls.%s: it is missing; the URL of the function" $name) (index $.Values.transport.urls $name) | quote }}
{{- end }}
{{- else }}
{{- with .Values.transport.invoke }}
REGION: {{ required "transport.invoke.region: it is missing; the functions' region" .region | quote }}
SCF_FUNCTION_NAMESPACE: {{ .namespace | quote }}
{{- with .endpoint }}
SCF_ENDPOINT: {{ . | quote }}
{{- end }}
{{- if eq .credential "mounted" }}
CREDENTIAL: {{ include "clb-direct.mount" $ | quote }}
{{- else if eq .credential "pod" }}
CREDENTIAL: pod
{{- with .pod.stsEndpoint }}
STS_ENDPOINT: {{ . | quote }}
{{- end }}
{{- end }}
{{- $functions := .functions }}
{{- range $name := list "frontend" "backends" "readiness" }}
FUNCTION_{{ upper $name }}: {{ required (printf "transport.invoke.functions.%s: it is missing; the function's name" $name) (index $functions $name) | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}
