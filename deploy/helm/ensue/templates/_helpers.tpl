{{- define "ensue.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "ensue.selector" -}}
app.kubernetes.io/name: ensue
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ensue.labels" -}}
{{ include "ensue.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: server
{{- end -}}

{{/* What cannot work is refused before anything is made. */}}
{{- define "ensue.check" -}}
{{- $jwt := .Values.auth.jwt -}}
{{- $login := .Values.auth.login -}}
{{- $hasAuth := or .Values.auth.tokensSecret .Values.auth.certificates $jwt.issuer $login.issuer -}}
{{- if not .Values.insecureLetEveryoneIn -}}
{{- if not .Values.tls.secretName -}}
{{- fail "tls.secretName is empty: name a Secret of the type kubernetes.io/tls (for a trial without: insecureLetEveryoneIn=true)" -}}
{{- end -}}
{{- if not $hasAuth -}}
{{- fail "auth is empty: set auth.tokensSecret, auth.certificates, auth.jwt or auth.login (for a trial without: insecureLetEveryoneIn=true)" -}}
{{- end -}}
{{- end -}}
{{- if and (or $jwt.issuer $jwt.audience $jwt.keysUrl $jwt.keysConfigMap) (not (and $jwt.issuer $jwt.audience)) -}}
{{- fail "auth.jwt is half set: it needs issuer and audience" -}}
{{- end -}}
{{- if and $jwt.keysUrl $jwt.keysConfigMap -}}
{{- fail "auth.jwt has keysUrl and keysConfigMap: set one" -}}
{{- end -}}
{{- if and (or $login.issuer $login.clientId $login.url $login.clientSecret.name) (not (and $login.issuer $login.clientId $login.url)) -}}
{{- fail "auth.login is half set: it needs issuer, clientId and url" -}}
{{- end -}}
{{- if and .Values.auth.certificates (not .Values.tls.clientCa) -}}
{{- fail "auth.certificates needs tls.clientCa=true, and a ca.crt in the Secret of tls.secretName" -}}
{{- end -}}
{{- if eq .Values.mode "distributed" -}}
{{- if not .Values.distributed.engineSecret.name -}}
{{- fail "distributed.engineSecret.name is empty: name a Secret with the URL of the engine" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "networkPolicy.egress is empty: the pods could not reach the engine's server; add a rule for it" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One pod has no other to which its clients could go meanwhile. */}}
{{- define "ensue.delay" -}}
{{- ternary .Values.shutdown.delaySeconds 0 (eq .Values.mode "distributed") -}}
{{- end -}}

{{- define "ensue.head" -}}
listen = "0.0.0.0:3678"
hosts = {{ .Values.hosts | toRawJson }}
{{- if .Values.insecureLetEveryoneIn }}
insecure_let_everyone_in = true
{{- end }}

[limits]
drain_delay = "{{ include "ensue.delay" . }}s"
drain_timeout = "{{ .Values.shutdown.timeoutSeconds }}s"
{{- range $name, $value := .Values.limits }}
{{ $name }} = {{ if kindIs "string" $value }}{{ $value | quote }}{{ else }}{{ int64 $value }}{{ end }}
{{- end }}
{{- with .Values.extraConfig }}

{{ . | trim }}
{{- end }}
{{- end -}}

{{- define "ensue.access" -}}
{{- with .Values.tls }}
{{- if .secretName }}
[tls]
certificate = "/etc/ensue/tls/tls.crt"
key = "/etc/ensue/tls/tls.key"
{{- if .clientCa }}
client_ca = "/etc/ensue/tls/ca.crt"
{{- end }}
{{- end }}
{{- end }}
{{- with .Values.auth }}
{{- if or .tokensSecret .certificates .jwt.issuer .login.issuer }}

[auth]
{{- if .tokensSecret }}
tokens = "/etc/ensue/tokens/tokens.json"
{{- end }}
{{- if .jwt.issuer }}

[auth.jwt]
issuer = {{ .jwt.issuer | quote }}
audience = {{ .jwt.audience | quote }}
{{- with .jwt.keysUrl }}
keys_url = {{ . | quote }}
{{- end }}
{{- if .jwt.keysConfigMap }}
keys = "/etc/ensue/jwt/jwks.json"
{{- end }}
{{- end }}
{{- if .login.issuer }}

[auth.login]
issuer = {{ .login.issuer | quote }}
client_id = {{ .login.clientId | quote }}
url = {{ .login.url | quote }}
{{- with .login.rolesClaim }}
roles_claim = {{ . | quote }}
{{- end }}
{{- if .login.clientSecret.name }}
client_secret = "/etc/ensue/login/{{ .login.clientSecret.key }}"
{{- end }}
{{- end }}
{{- if .certificates }}

[auth.certificates]
{{- range $name, $roles := .certificates }}
{{ $name | quote }} = {{ $roles | toRawJson }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $role := .Values.roles }}

[roles.{{ $name | quote }}]
{{- range $action, $topics := $role }}
{{ $action }} = {{ $topics | toRawJson }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The pod of both kinds. */}}
{{- define "ensue.pod" -}}
{{- $scheme := ternary "HTTPS" "HTTP" (ne .Values.tls.secretName "") -}}
metadata:
  labels:
    {{- include "ensue.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # What needs a restart; tokens, certificates and roles are followed.
    checksum/settings: {{ include "ensue.head" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "ensue.fullname" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  # drain_delay, drain_timeout, and the time that closing the log takes.
  terminationGracePeriodSeconds: {{ add (include "ensue.delay" . | int) .Values.shutdown.timeoutSeconds 15 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  {{- with .Values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: ensue
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve, --config, /etc/ensue/config/ensue.toml]
      env:
        - name: ENSUE_LOG
          value: {{ .Values.log | quote }}
        - name: ENSUE_ENGINE
          {{- if eq .Values.mode "embedded" }}
          value: {{ printf "embedded:/var/lib/ensue/data%s" (empty .Values.embedded.options | ternary "" (printf "?%s" .Values.embedded.options)) | quote }}
          {{- else }}
          valueFrom:
            secretKeyRef:
              name: {{ .Values.distributed.engineSecret.name }}
              key: {{ .Values.distributed.engineSecret.key }}
          {{- end }}
      workingDir: /var/lib/ensue
      ports:
        - name: http
          containerPort: 3678
      # A log that was not closed is read through before the server listens.
      startupProbe:
        httpGet: {path: /livez, port: http, scheme: {{ $scheme }}}
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 450
      livenessProbe:
        httpGet: {path: /livez, port: http, scheme: {{ $scheme }}}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}
        periodSeconds: 3
        timeoutSeconds: 6
        failureThreshold: 1
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/ensue}
        - {name: config, mountPath: /etc/ensue/config, readOnly: true}
        {{- if .Values.tls.secretName }}
        - {name: tls, mountPath: /etc/ensue/tls, readOnly: true}
        {{- end }}
        {{- if .Values.auth.tokensSecret }}
        - {name: tokens, mountPath: /etc/ensue/tokens, readOnly: true}
        {{- end }}
        {{- if .Values.auth.jwt.keysConfigMap }}
        - {name: jwt, mountPath: /etc/ensue/jwt, readOnly: true}
        {{- end }}
        {{- if .Values.auth.login.clientSecret.name }}
        - {name: login, mountPath: /etc/ensue/login, readOnly: true}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- if eq .Values.mode "distributed" }}
    # The copy of the log: it outlives the container, and is read again from the server by a new pod.
    - name: data
      emptyDir: {sizeLimit: {{ .Values.distributed.copySizeLimit }}}
    {{- end }}
    # Directories, not single files: those would not follow a change.
    - name: config
      configMap: {name: {{ include "ensue.fullname" . }}}
    {{- with .Values.tls.secretName }}
    # With fsGroup the group may read the files, and others may not: the server refuses keys that they may read.
    - name: tls
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.auth.tokensSecret }}
    - name: tokens
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.auth.jwt.keysConfigMap }}
    - name: jwt
      configMap: {name: {{ . }}}
    {{- end }}
    {{- with .Values.auth.login.clientSecret.name }}
    - name: login
      secret: {secretName: {{ . }}, defaultMode: 0440}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if eq .Values.mode "distributed" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "ensue.selector" . | nindent 10 }}
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
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}
