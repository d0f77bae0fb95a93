{{/* The PodSpec around the container, for a predictor, its workers and a Deployment alike. Volumes stand elsewhere. KServe
     mounts a claim of weights as one that could be written: without OnRootMismatch every Pod would walk through all of it. */}}
{{- define "warmgate.podSpec" -}}
{{- $numbers := include "warmgate.numbers" . | fromYaml -}}
{{- $gpu := include "warmgate.gpu" . | fromYaml -}}
serviceAccountName: {{ include "warmgate.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $numbers.grace | int }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 0
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with merge (deepCopy $gpu.nodeSelector) .Values.pod.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat $gpu.tolerations .Values.pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.pod.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "warmgate.podSelector" . | nindent 8 }}
    matchLabelKeys:
      - pod-template-hash
{{- with include "warmgate.priorityClassName" . }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.pod.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with $gpu.claims }}
resourceClaims:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What `warmgate lint` and a reader of the object learn. KServe copies it into the Pods: no version in here. */}}
{{- define "warmgate.facts" -}}
warmgate/class: {{ .Values.class }}
warmgate/load-seconds: {{ .Values.endpoint.loadSeconds | int | quote }}
{{- if and .Values.gpu.enabled .Values.gpu.poolSize }}
warmgate/pool-gpus: {{ .Values.gpu.poolSize | int | quote }}
{{- end }}
{{- if .Values.lint.allow }}
{{- $allowed := list }}
{{- range $code, $reason := .Values.lint.allow }}
{{- $allowed = append $allowed (printf "%s: %s" $code $reason) }}
{{- end }}
warmgate/allow: {{ join "; " $allowed | quote }}
{{- end }}
{{- end }}
