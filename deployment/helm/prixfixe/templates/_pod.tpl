{{/* The pod, for both kinds of workload. */}}
{{- define "prixfixe.pod" -}}
metadata:
  labels:
    {{- include "prixfixe.selector" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # Settings are read at the start: a change of them replaces the pods.
    prixfixe/settings: {{ include "prixfixe.settings" . | sha256sum }}
    {{- with include "prixfixe.ownSecrets" . | trim }}
    prixfixe/secrets: {{ sha256sum . }}
    {{- end }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .Values.shutdown.preStopSeconds .Values.shutdown.drainSeconds 30 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    runAsGroup: 1000
    fsGroup: 1000
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if gt (include "prixfixe.replicas" . | int) 1 }}
  topologySpreadConstraints:
    {{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
    - maxSkew: 1
      topologyKey: {{ $key }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "prixfixe.selector" $ | nindent 10 }}
    {{- end }}
  {{- end }}
  {{- if and (include "prixfixe.isShared" .) .Values.store.postgresql.migrate }}
  initContainers:
    - name: migrate
      {{- include "prixfixe.container" . | nindent 6 }}
      args: [migrate]
  {{- end }}
  containers:
    - name: smtp
      {{- include "prixfixe.container" . | nindent 6 }}
      ports:
        - name: smtp
          containerPort: 2525
        {{- if .Values.tls.implicit }}
        - name: smtps
          containerPort: 4650
        {{- end }}
        - name: http
          containerPort: 8025
      startupProbe:
        httpGet:
          path: /livez
          port: http
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 150
      livenessProbe:
        httpGet:
          path: /livez
          port: http
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 3
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 2
      lifecycle:
        preStop:
          sleep:
            seconds: {{ .Values.shutdown.preStopSeconds }}
  volumes:
    - name: tmp
      emptyDir:
        medium: Memory
        sizeLimit: 16Mi
    {{- with include "prixfixe.secretSources" . | trim }}
    - name: secrets
      projected:
        defaultMode: 0440
        sources:
          {{- . | nindent 10 }}
    {{- end }}
    {{- with .Values.tls.existingSecret }}
    - name: tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
        items:
          - key: tls.crt
            path: tls.crt
          - key: tls.key
            path: tls.key
    {{- end }}
    {{- if and (include "prixfixe.isShared" .) .Values.store.postgresql.caSecret }}
    - name: postgresql
      secret:
        secretName: {{ .Values.store.postgresql.caSecret }}
        defaultMode: 0440
        items:
          - key: {{ .Values.store.postgresql.caKey }}
            path: ca.crt
    {{- end }}
{{- end -}}

{{- define "prixfixe.secretSources" -}}
{{- with include "prixfixe.tokenSecret" . }}
- secret:
    name: {{ . }}
    items:
      - key: {{ ternary $.Values.http.token.key "token" (ne $.Values.http.token.existingSecret "") }}
        path: token
{{- end }}
{{- with include "prixfixe.usersSecret" . }}
- secret:
    name: {{ . }}
    items:
      - key: {{ ternary $.Values.auth.key "users" (ne $.Values.auth.existingSecret "") }}
        path: users
{{- end }}
{{- with include "prixfixe.urlSecret" . }}
- secret:
    name: {{ . }}
    items:
      - key: {{ ternary $.Values.store.postgresql.key "url" (ne $.Values.store.postgresql.existingSecret "") }}
        path: url
{{- end }}
{{- end -}}

{{/* What the server and its init container have in common. */}}
{{- define "prixfixe.container" -}}
image: {{ include "prixfixe.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
envFrom:
  - configMapRef:
      name: {{ include "prixfixe.fullname" . }}
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
resources:
  {{- toYaml .Values.resources | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  {{- if include "prixfixe.hasVolume" . }}
  - name: mail
    mountPath: /var/mail
  {{- end }}
  {{- if include "prixfixe.secretSources" . | trim }}
  - name: secrets
    mountPath: /run/secrets/prixfixe
    readOnly: true
  {{- end }}
  {{- if .Values.tls.existingSecret }}
  - name: tls
    mountPath: /run/tls
    readOnly: true
  {{- end }}
  {{- if and (include "prixfixe.isShared" .) .Values.store.postgresql.caSecret }}
  - name: postgresql
    mountPath: /run/postgresql
    readOnly: true
  {{- end }}
{{- end -}}
