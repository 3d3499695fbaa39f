{{- define "parley.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "parley.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "parley.labels" -}}
{{ include "parley.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "parley.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}{{ .Values.serviceAccount.name | default (include "parley.name" .) }}{{ else }}{{ .Values.serviceAccount.name | default "default" }}{{ end }}
{{- end }}

{{- define "parley.secret" -}}
{{- if .Values.existingSecret }}{{ .Values.existingSecret }}{{ else if .Values.secrets }}{{ include "parley.name" . }}{{ else }}{{ fail "Set existingSecret to the name of a Secret with REDIS_URL and PARLEY_SECRET_KEYS (or secrets, for a trial)." }}{{ end }}
{{- end }}

{{/* One process of Parley. Called with the root and `process`: web or worker. */}}
{{- define "parley.deployment" -}}
{{- $part := index .root.Values .process }}
{{- with .root }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "parley.name" . }}-{{ $.process }}
  labels: {{- include "parley.labels" . | nindent 4 }}
    app.kubernetes.io/component: {{ $.process }}
spec:
  {{- if not (and (eq $.process "worker") .Values.worker.autoscaling.kind) }}
  replicas: {{ $part.replicas }}
  {{- end }}
  selector:
    matchLabels: {{- include "parley.selector" . | nindent 6 }}
      app.kubernetes.io/component: {{ $.process }}
  template:
    metadata:
      labels: {{- include "parley.labels" . | nindent 8 }}
        app.kubernetes.io/component: {{ $.process }}
        {{- with .Values.podLabels }}{{ toYaml . | nindent 8 }}{{ end }}
      annotations:
        checksum/config: {{ include (print $.root.Template.BasePath "/config.yaml") . | sha256sum }}
        prometheus.io/scrape: "true"
        prometheus.io/port: "3978"
    spec:
      serviceAccountName: {{ include "parley.serviceAccount" . }}
      {{- with .Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      terminationGracePeriodSeconds: {{ $part.terminationGracePeriodSeconds | default 45 }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 10001
        runAsGroup: 10001
        fsGroup: 10001
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: {{ $.process }}
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
          imagePullPolicy: {{ .Values.image.pullPolicy }}
          args: [{{ $.process | quote }}]
          env:
            - name: HOST
              value: 0.0.0.0
            - name: PORT
              value: "3978"
            - name: PARLEY_WORKER_PORT
              value: "3978"
            - name: PARLEY_DATA_DIR
              value: /data
            {{- if .Values.deployments }}
            - name: PARLEY_DEPLOYMENTS
              value: /etc/parley/deployments.yaml
            {{- end }}
          envFrom:
            - configMapRef:
                name: {{ include "parley.name" . }}
            - secretRef:
                name: {{ include "parley.secret" . }}
          ports:
            - name: http
              containerPort: 3978
          startupProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 2
            failureThreshold: 60
          # Liveness says that the event loop runs, not that Redis is there: without Redis a restart helps nobody.
          livenessProbe:
            httpGet: {path: /healthz, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /readyz, port: http}
            periodSeconds: 5
            timeoutSeconds: 5
          resources: {{- toYaml $part.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tmp, mountPath: /tmp}
            {{- if .Values.deployments }}
            - {name: deployments, mountPath: /etc/parley, readOnly: true}
            {{- end }}
      volumes:
        - name: data
          emptyDir: {}
        - name: tmp
          emptyDir: {}
        {{- if .Values.deployments }}
        - name: deployments
          configMap:
            name: {{ include "parley.name" . }}-deployments
        {{- end }}
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- include "parley.selector" . | nindent 14 }}
              app.kubernetes.io/component: {{ $.process }}
      {{- with .Values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.affinity }}
      affinity: {{- toYaml . | nindent 8 }}
      {{- end }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "parley.name" . }}-{{ $.process }}
  labels: {{- include "parley.labels" . | nindent 4 }}
spec:
  {{- toYaml $part.podDisruptionBudget | nindent 2 }}
  selector:
    matchLabels: {{- include "parley.selector" . | nindent 6 }}
      app.kubernetes.io/component: {{ $.process }}
{{- end }}
{{- end }}
