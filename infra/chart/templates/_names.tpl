{{- define "clb-direct.image" -}}
{{- with .Values.forwarder.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}
{{- define "clb-direct.config" -}}{{ .Values.config.existing | default "forwarder" }}{{- end -}}
{{- define "clb-direct.secret" -}}{{ .Values.secret.existing | default "forwarder" }}{{- end -}}
{{- define "clb-direct.labels" -}}
app.kubernetes.io/part-of: clb-direct
{{- end -}}
{{- /* How calls of the cloud's API are signed: env, mounted or pod, "" where none are made. */ -}}
{{- define "clb-direct.credential" -}}{{ if eq .Values.transport.type "invoke" }}{{ .Values.transport.invoke.credential }}{{ end }}{{- end -}}
{{- define "clb-direct.mount" -}}/etc/clb-direct/credential{{- end -}}
{{- /* Annotations of the forwarder's ServiceAccount. TKE's add-on pod-identity-webhook goes by the first two. */ -}}
{{- define "clb-direct.identity" -}}
{{- $a := dict -}}
{{- $pod := .Values.transport.invoke.pod -}}
{{- if and .Values.forwarder.enabled (eq (include "clb-direct.credential" .) "pod") (not $pod.providerId) -}}
{{- $a = dict "tke.cloud.tencent.com/role-arn" (include "clb-direct.role" .) "tke.cloud.tencent.com/audience" $pod.audience -}}
{{- end -}}
{{- with merge (deepCopy .Values.forwarder.serviceAccountAnnotations) $a -}}{{- toYaml . -}}{{- end -}}
{{- end -}}
{{- define "clb-direct.role" -}}
{{ required "transport.invoke.pod.roleArn: it is missing; the CAM role that the forwarder's pod assumes" .Values.transport.invoke.pod.roleArn }}
{{- end -}}
