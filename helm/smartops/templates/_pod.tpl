{{/* The spec that all pods share. Takes root, component, and `values` with the resources of the container. */}}

{{- define "smartops.pod" -}}
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.pods.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pods.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.pods.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "smartops.podMetadata" -}}
labels: {{- include "smartops.labels" . | nindent 2 }}
{{- with .root.Values.pods.annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "smartops.container" -}}
name: {{ .component }}
image: "{{ .root.Values.image.repository }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}"
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
resources: {{- toYaml .values.resources | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* At most one unavailable replica; replicas are spread over zones and nodes. */}}
{{- define "smartops.spread" -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "smartops.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}

{{/* Secrets are files, because a variable is visible in dumps, in /proc and to every child process. */}}
{{- define "smartops.env" -}}
{{- $values := .Values -}}
- {name: DATABASE_URL_FILE, value: /run/secrets/smartops/database-url}
- {name: SMARTOPS_SECRET_KEY_FILE, value: /run/secrets/smartops/secret-key}
- {name: SMARTOPS_TOKEN_PEPPERS_FILE, value: /run/secrets/smartops/token-peppers}
{{- if $values.database.listen.secret }}
- {name: DATABASE_LISTEN_URL_FILE, value: /run/secrets/smartops/listen-url}
{{- end }}
{{- if $values.database.ca.secret }}
- {name: PGSSLROOTCERT, value: /run/secrets/smartops/database-ca.crt}
{{- end }}
- {name: SMARTOPS_DATABASE_POOL, value: {{ $values.database.pool | quote }}}
- {name: SMARTOPS_CLUSTER, value: {{ $values.targets.cluster | quote }}}
{{- with $values.targets.clusterNote }}
- {name: SMARTOPS_CLUSTER_NOTE, value: {{ . | quote }}}
{{- end }}
{{- with $values.web.consoleUrl }}
- {name: SMARTOPS_CONSOLE_URL, value: {{ . | quote }}}
{{- end }}
{{- $targets := (include "smartops.targets" . | fromJson).namespaces }}
- {name: SMARTOPS_NAMESPACE, value: {{ first $targets | quote }}}
- {name: SMARTOPS_NAMESPACES, value: {{ ternary "*" (join "," $targets) $values.targets.allNamespaces | quote }}}
{{- with $values.targets.allowedOwnWorkloads }}
- {name: SMARTOPS_ALLOWED_OWN_WORKLOADS, value: {{ join "," . | quote }}}
{{- end }}
{{- with $values.targets.allowedPatchPrefixes }}
- {name: SMARTOPS_ALLOWED_PATCH_PREFIXES, value: {{ join "," . | quote }}}
{{- end }}
{{- with $values.policy.url }}
- {name: SMARTOPS_OPA_URL, value: {{ . | quote }}}
- {name: SMARTOPS_OPA_TIMEOUT, value: {{ $values.policy.timeoutSeconds | quote }}}
{{- end }}
{{- with $values.telemetry.endpoint }}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := $values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}

{{- define "smartops.secretsMount" -}}
{name: secrets, mountPath: /run/secrets/smartops, readOnly: true}
{{- end }}

{{/* Each component has a login of its own in the database. Takes root and component. */}}
{{- define "smartops.secretsVolume" -}}
{{- $database := .root.Values.database -}}
{{- $url := dict "secret" $database.secret "key" $database.key -}}
{{- if eq .component "reconciler" }}{{ $url = $database.reconciler }}{{ end }}
{{- if has .component (list "migrate" "retain") }}{{ $url = $database.owner }}{{ end -}}
name: secrets
projected:
  defaultMode: 0440
  sources:
    - secret:
        name: {{ $url.secret | default $database.secret }}
        items: [{key: {{ $url.key }}, path: database-url}]
    - secret:
        name: {{ .root.Values.secrets.name }}
        items: [{key: secret-key, path: secret-key}, {key: token-peppers, path: token-peppers}]
    {{- with .root.Values.oidc }}
    {{- if and .issuer (eq $.component "web") }}
    - secret:
        name: {{ .secret.name | default $.root.Values.secrets.name }}
        items: [{key: {{ .secret.key }}, path: oidc-client-secret}]
    {{- end }}
    {{- end }}
    {{- range $path, $of := dict "listen-url" $database.listen "database-ca.crt" $database.ca }}
    {{- if $of.secret }}
    - secret:
        name: {{ $of.secret }}
        items: [{key: {{ $of.key }}, path: {{ $path }}}]
    {{- end }}
    {{- end }}
{{- end }}
