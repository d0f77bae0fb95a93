{{/* The serving container and its volumes, for a ServingRuntime and for a Deployment alike. */}}

{{/* (dict "root" $ "variant" v) */}}
{{- define "warmgate.image" -}}
{{- $image := .root.Values.image -}}
{{- $name := $image.repository -}}
{{- if $image.registry -}}
{{- $name = printf "%s/%s" (trimSuffix "/" $image.registry) $image.repository -}}
{{- end -}}
{{- if .variant.digest -}}
{{- printf "%s@%s" $name .variant.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .root.Chart.AppVersion .variant.tag) -}}
{{- end -}}
{{- end }}

{{/* vLLM's arguments that belong to the image and the mount: a list as YAML. */}}
{{- define "warmgate.runtimeArgs" -}}
- --model={{ include "warmgate.modelPath" . }}
- --port=8080
{{- end }}

{{/* vLLM's arguments that belong to the release: never empty, since an empty list of a canary would inherit. */}}
{{- define "warmgate.releaseArgs" -}}
{{- $gpu := .root.Values.gpu -}}
- --served-model-name={{ include "warmgate.servedName" .root }}
{{- if and (not .root.Values.kserve.enabled) (hasPrefix "hf://" .variant.storageUri) }}
{{- with .variant.storageUri | trimPrefix "hf://" | splitList ":" | rest | first }}
- --revision={{ . }}
{{- end }}
{{- end }}
{{- if and $gpu.enabled (gt (int $gpu.count) 1) }}
- --tensor-parallel-size={{ int $gpu.count }}
{{- end }}
{{- if .root.Values.multiNode.enabled }}
- --pipeline-parallel-size={{ int .root.Values.multiNode.nodes }}
- --distributed-executor-backend=ray
{{- end }}
{{- with .variant.maxModelLen }}
- --max-model-len={{ int . }}
{{- end }}
{{- with .variant.gpuMemoryUtilization }}
- --gpu-memory-utilization={{ . }}
{{- end }}
{{- range .variant.args }}
- {{ . | quote }}
{{- end }}
{{- end }}

{{/* The environment that vLLM and the agent get, as a list. */}}
{{- define "warmgate.env" -}}
{{- $root := .root -}}
{{- $numbers := include "warmgate.numbers" $root | fromYaml -}}
- name: WARMGATE_STARTUP_TIMEOUT
  value: {{ $numbers.budget | int | quote }}
- name: VLLM_ENGINE_READY_TIMEOUT_S
  value: {{ $numbers.budget | int | quote }}
- name: WARMGATE_LAME_DUCK
  value: {{ $root.Values.endpoint.lameDuckSeconds | int | quote }}
- name: WARMGATE_DRAIN_TIMEOUT
  value: {{ $root.Values.endpoint.drainSeconds | int | quote }}
{{- with $root.Values.model.apiKey.secretName }}
- name: VLLM_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ . | quote }}
      key: {{ $root.Values.model.apiKey.key | quote }}
{{- end }}
{{ include "warmgate.engineEnv" . }}
{{- end }}

{{/* The part of it that a worker node needs too. */}}
{{- define "warmgate.engineEnv" -}}
- name: VLLM_NO_USAGE_STATS
  value: "1"
- name: DO_NOT_TRACK
  value: "1"
{{- if .root.Values.multiNode.enabled }}
- name: VLLM_HOST_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
{{- end }}
{{- range $name, $value := .variant.env }}
- name: {{ $name }}
  value: {{ include "warmgate.text" $value | quote }}
{{- end }}
{{- end }}

{{- define "warmgate.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop:
    - ALL
readOnlyRootFilesystem: true
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "warmgate.mounts" -}}
- name: cache
  mountPath: /cache
- name: shm
  mountPath: /dev/shm
- name: tmp
  mountPath: /tmp
{{- end }}

{{- define "warmgate.volumes" -}}
- name: cache
  emptyDir:
    {{- if .Values.pod.cacheSizeLimit }}
    sizeLimit: {{ .Values.pod.cacheSizeLimit }}
    {{- else }} {}
    {{- end }}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.pod.sharedMemory }}
- name: tmp
  emptyDir: {}
{{- end }}

{{/* Startup and readiness ask the agent for the model; liveness asks whether a restart would help. */}}
{{- define "warmgate.probes" -}}
{{- $numbers := include "warmgate.numbers" . | fromYaml -}}
startupProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: {{ $numbers.startupFailures | int }}
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
livenessProbe:
  httpGet:
    path: /livez
    port: admin
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* (dict "root" $ "variant" v "args" list): everything but resources. */}}
{{- define "warmgate.container" -}}
name: kserve-container
image: {{ include "warmgate.image" . | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- if .root.Values.multiNode.enabled }}
command:
  {{- include "warmgate.headCommand" .root | nindent 2 }}
{{- end }}
args:
  {{- .args | toYaml | nindent 2 }}
env:
  {{- include "warmgate.env" . | nindent 2 }}
ports:
  - name: http
    containerPort: 8080
    protocol: TCP
  - name: admin
    containerPort: 8081
    protocol: TCP
{{ include "warmgate.probes" .root }}
securityContext:
  {{- include "warmgate.containerSecurity" . | nindent 2 }}
volumeMounts:
  {{- include "warmgate.mounts" . | nindent 2 }}
  {{- if not .root.Values.kserve.enabled }}
  {{- include "warmgate.modelMount" . | trim | nindent 2 }}
  {{- end }}
{{- end }}
