{{/* Pods of the tools image: what a load test and a verification have in common. They serve nobody and need no GPU. */}}

{{- define "warmgate.tools.image" -}}
{{- $image := .Values.tools.image -}}
{{- $registry := default .Values.image.registry $image.registry -}}
{{- $name := empty $registry | ternary $image.repository (printf "%s/%s" $registry $image.repository) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{/* Everything of such a Pod but its containers and volumes. */}}
{{- define "warmgate.tools.pod" -}}
restartPolicy: Never
automountServiceAccountToken: false
# A Service named `warmgate` would otherwise set WARMGATE_PORT and its like, which are options here.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 0
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.tools.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tools.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Everything of such a container but its name, command, mounts and resources. */}}
{{- define "warmgate.tools.container" -}}
image: {{ include "warmgate.tools.image" . | quote }}
imagePullPolicy: {{ .Values.tools.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- with .Values.model.apiKey }}
{{- if .secretName }}
env:
  - name: ENDPOINT_API_KEY
    valueFrom:
      secretKeyRef:
        name: {{ .secretName | quote }}
        key: {{ .key | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* The option that names the key's variable: a key itself is never an argument. */}}
{{- define "warmgate.tools.apiKeyArgument" -}}
{{- if .Values.model.apiKey.secretName }}
- --api-key-env=ENDPOINT_API_KEY
{{- end }}
{{- end }}

{{/* (dict "root" $ "waitSeconds" 240): the arguments of a verification. With several replicas the agent asked is one of theirs. */}}
{{- define "warmgate.tools.verifyArguments" -}}
{{- $verify := .root.Values.verify -}}
- verify
- --admin={{ include "warmgate.adminUrl" .root }}
- --base-url={{ default (include "warmgate.baseUrl" .root) $verify.baseUrl }}
- --model={{ include "warmgate.servedName" .root }}
- --wait={{ int .waitSeconds }}
- --timeout={{ int $verify.timeoutSeconds }}
- --ttft-ms={{ include "warmgate.text" $verify.ttftMs }}
- --percentile={{ $verify.percentile }}
- --samples={{ int $verify.samples }}
{{- with $verify.gpuFreeMib }}
- --gpu-free-mib={{ int . }}
{{- end }}
{{- with $verify.expect }}
- {{ printf "--expect=%s" . | quote }}
{{- end }}
{{- include "warmgate.tools.apiKeyArgument" .root }}
{{- end }}
