{{- define "prixfixe.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "prixfixe.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "prixfixe.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "prixfixe.names" -}}
app.kubernetes.io/name: {{ include "prixfixe.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The servers' pods, and not that of `helm test`. */}}
{{- define "prixfixe.selector" -}}
{{ include "prixfixe.names" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "prixfixe.labels" -}}
{{ include "prixfixe.names" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "prixfixe.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* Whether the store is a folder of the pod, so that one server owns a volume. */}}
{{- define "prixfixe.hasVolume" -}}
{{- if has .Values.store.type (list "sqlite" "maildir") -}}true{{- end -}}
{{- end -}}

{{- define "prixfixe.isShared" -}}
{{- if eq .Values.store.type "postgresql" -}}true{{- end -}}
{{- end -}}

{{- define "prixfixe.replicas" -}}
{{- if eq (toString .Values.replicas) "auto" -}}
{{- ternary 2 1 (eq .Values.store.type "postgresql") -}}
{{- else -}}
{{- int .Values.replicas -}}
{{- end -}}
{{- end -}}

{{/* Names of Secrets: the user's own, or that of the chart where a value is given, or nothing. */}}
{{- define "prixfixe.tokenSecret" -}}
{{- with .Values.http.token -}}
{{- if .existingSecret -}}{{ .existingSecret }}{{- else if .value -}}{{ include "prixfixe.fullname" $ }}{{- end -}}
{{- end -}}
{{- end -}}

{{- define "prixfixe.usersSecret" -}}
{{- with .Values.auth -}}
{{- if .existingSecret -}}{{ .existingSecret }}{{- else if .users -}}{{ include "prixfixe.fullname" $ }}-users{{- end -}}
{{- end -}}
{{- end -}}

{{- define "prixfixe.urlSecret" -}}
{{- if eq .Values.store.type "postgresql" -}}
{{- with .Values.store.postgresql -}}
{{- if .existingSecret -}}{{ .existingSecret }}{{- else -}}{{ include "prixfixe.fullname" $ }}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the chart's own Secret has: what is read at the start only, so that a change restarts. */}}
{{- define "prixfixe.ownSecrets" -}}
{{- if and .Values.http.token.value (not .Values.http.token.existingSecret) }}
token: {{ .Values.http.token.value | b64enc }}
{{- end }}
{{- if and (eq .Values.store.type "postgresql") (not .Values.store.postgresql.existingSecret) }}
url: {{ .Values.store.postgresql.url | b64enc }}
{{- end }}
{{- end -}}

{{/* A number of a YAML file is a float64 in a template, and large ones would become 1e+07. */}}
{{- define "prixfixe.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}{{ int64 . }}{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{- define "prixfixe.settings" -}}
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ include "prixfixe.text" $value | quote }}
{{- end }}
SMTP_PORT: "2525"
SMTP_HTTP_PORT: "8025"
SMTP_SHUTDOWN_TIMEOUT: {{ .Values.shutdown.drainSeconds | int | quote }}
{{- if eq .Values.store.type "sqlite" }}
SMTP_STORE: sqlite:/var/mail/prixfixe.db
{{- else if eq .Values.store.type "maildir" }}
SMTP_STORE: maildir:/var/mail/maildir
{{- else if eq .Values.store.type "postgresql" }}
SMTP_STORE_FILE: /run/secrets/prixfixe/url
{{- if ne (toString .Values.store.postgresql.quorum) "" }}
SMTP_STORE_QUORUM: {{ .Values.store.postgresql.quorum | int | quote }}
{{- end }}
{{- else }}
SMTP_STORE: "{{ .Values.store.type }}:"
{{- end }}
{{- if .Values.tls.existingSecret }}
SMTP_TLS_CERT: /run/tls/tls.crt
SMTP_TLS_KEY: /run/tls/tls.key
{{- else if .Values.tls.selfSigned }}
SMTP_TLS_CERT: self-signed
{{- end }}
{{- if .Values.tls.required }}
SMTP_TLS: required
{{- end }}
{{- if .Values.tls.implicit }}
SMTP_TLS_PORT: "4650"
{{- end }}
{{- if ne .Values.auth.mode "off" }}
SMTP_AUTH: {{ .Values.auth.mode }}
{{- end }}
{{- if include "prixfixe.usersSecret" . }}
SMTP_AUTH_USERS: /run/secrets/prixfixe/users
{{- end }}
{{- if include "prixfixe.tokenSecret" . }}
SMTP_HTTP_TOKEN_FILE: /run/secrets/prixfixe/token
{{- end }}
{{- with .Values.proxyProtocol }}
SMTP_PROXY_PROTOCOL: {{ join "," . | quote }}
{{- end }}
{{- end -}}
