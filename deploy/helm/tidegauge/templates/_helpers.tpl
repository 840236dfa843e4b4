{{- define "tidegauge.labels" -}}
app.kubernetes.io/name: tidegauge
app.kubernetes.io/part-of: tidegauge
{{- end }}

{{- define "tidegauge.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- /* A change of settings or models starts pods anew. */}}
{{- define "tidegauge.checksums" -}}
checksum/settings: {{ toJson .Values.settings | sha256sum }}
{{- end }}

{{- define "tidegauge.metadata" -}}
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "tidegauge.labels" .root | nindent 4 }}
{{- end }}

{{- /* What every pod has: no rights, no links to services. `group`: it writes into a volume. */}}
{{- define "tidegauge.pod" -}}
enableServiceLinks: false
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  {{- if .group }}
  fsGroup: 10001
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.pod }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* `registry`: it moves aliases of MLflow and calls hooks. */}}
{{- define "tidegauge.environment" -}}
envFrom:
  - configMapRef:
      name: settings
  - secretRef:
      name: kafka-client
      optional: true
{{- if .registry }}
  - secretRef:
      name: registry
      optional: true
{{- end }}
{{- if .root.Values.strimzi.enabled }}
env:
  - name: TIDEGAUGE_SECURITY_PROTOCOL
    value: SASL_SSL
  - name: TIDEGAUGE_SSL_CAFILE
    value: /kafka-ca/ca.crt
  - name: TIDEGAUGE_SASL_MECHANISM
    value: SCRAM-SHA-512
  - name: TIDEGAUGE_SASL_USERNAME
    value: tidegauge-{{ .user }}
  - name: TIDEGAUGE_SASL_PASSWORD
    valueFrom:
      secretKeyRef:
        name: tidegauge-{{ .user }}
        key: password
{{- end }}
{{- end }}

{{- define "tidegauge.locked" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "tidegauge.mounts" -}}
- name: scratch
  mountPath: /tmp
{{- if .Values.strimzi.enabled }}
- name: kafka-ca
  mountPath: /kafka-ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "tidegauge.volumes" -}}
- name: scratch
  emptyDir: {}
{{- if .Values.strimzi.enabled }}
- name: kafka-ca
  secret:
    secretName: kafka-ca
{{- end }}
{{- end }}

{{- define "tidegauge.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: {{ .port }}
  periodSeconds: {{ .start }}
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ .port }}
  periodSeconds: 15
  timeoutSeconds: 5
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ .port }}
  periodSeconds: 5
{{- end }}
