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
