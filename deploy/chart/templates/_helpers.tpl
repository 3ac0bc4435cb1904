{{/* What every object is labelled with, and what the DaemonSet selects by: never changes. */}}
{{- define "nodeway.labels" -}}
app.kubernetes.io/name: nodeway
{{- end }}

{{/* An AppArmor profile as annotations before Kubernetes 1.30 spelt it. */}}
{{- define "nodeway.legacyAppArmor" -}}
{{- with .Values.appArmorProfile -}}
{{- if eq .type "Localhost" -}}
localhost/{{ .localhostProfile }}
{{- else -}}
{{ eq .type "Unconfined" | ternary "unconfined" "runtime/default" }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "nodeway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}
