{{/* Names are fixed and do not contain the name of the release: other charts depend on them. */}}

{{- define "smartops.selector" -}}
app.kubernetes.io/name: smartops-orchestrator
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "smartops.labels" -}}
app.kubernetes.io/name: smartops-orchestrator
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/part-of: smartops
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* metadata of an object in SmartOps' own namespace. Takes root, name and an optional component. */}}
{{- define "smartops.metadata" -}}
name: {{ .name }}
namespace: {{ .root.Values.global.smartops.namespace }}
labels: {{- include "smartops.labels" . | nindent 2 }}
{{- end }}

{{/* The namespaces in which SmartOps acts, as JSON: {"namespaces": [...]} */}}
{{- define "smartops.targets" -}}
{{- dict "namespaces" (.Values.targets.namespaces | default (list .Values.global.smartops.namespace)) | toJson }}
{{- end }}

{{/* The host names that the web process accepts: those of the Service, of the Ingress, and of web.hosts. */}}
{{- define "smartops.hosts" -}}
{{- $service := "smartops-orchestrator" }}
{{- $namespace := .Values.global.smartops.namespace }}
{{- $hosts := list $service }}
{{- range list "" ".svc" ".svc.cluster.local" }}
{{- $hosts = append $hosts (printf "%s.%s%s" $service $namespace .) }}
{{- end }}
{{- if .Values.ingress.enabled }}
{{- $hosts = append $hosts .Values.ingress.host }}
{{- end }}
{{- concat $hosts .Values.web.hosts | uniq | join "," }}
{{- end }}

{{- define "smartops.origins" -}}
{{- $origins := .Values.web.trustedOrigins }}
{{- if .Values.ingress.enabled }}
{{- $origins = prepend $origins (printf "https://%s" .Values.ingress.host) }}
{{- end }}
{{- uniq $origins | join "," }}
{{- end }}
