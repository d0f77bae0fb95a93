{{/* (dict "root" $ "variant" v "stable" bool): a predictor. Stable and canary state every member of the Pod template
     themselves: nothing is inherited, so a promotion changes no Pod. */}}
{{- define "warmgate.predictor" -}}
{{- $values := .root.Values -}}
{{- $keda := eq $values.autoscaling.class "keda" -}}
{{- if not $values.multiNode.enabled }}
name: {{ .variant.release }}
{{- end }}
minReplicas: {{ int .variant.replicas }}
{{- if .stable }}
{{- if $keda }}
maxReplicas: {{ int $values.autoscaling.maxReplicas }}
autoScaling:
  behavior:
    scaleUp:
      stabilizationWindowSeconds: {{ int $values.autoscaling.scaleUpSeconds }}
    scaleDown:
      stabilizationWindowSeconds: {{ int $values.autoscaling.scaleDownSeconds }}
  metrics:
    - type: External
      external:
        metric:
          backend: prometheus
          serverAddress: {{ $values.autoscaling.prometheusAddress }}
          query: {{ include "warmgate.waitingQuery" .root | quote }}
        target:
          type: Value
          value: {{ int $values.autoscaling.waitingPerReplica | quote }}
{{- end }}
timeout: {{ int $values.endpoint.timeoutSeconds }}
deploymentStrategy:
  {{- include "warmgate.strategy" .root | nindent 2 }}
{{- end }}
{{- with $values.pod.labels }}
labels:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.pod.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{ include "warmgate.podSpec" .root }}
model:
  {{- if not .stable }}
  name: kserve-container
  {{- end }}
  modelFormat:
    name: warmgate-vllm
    version: "1"
  runtime: {{ include "warmgate.runtimeName" (dict "root" .root "variant" .variant) }}
  protocolVersion: v1
  storageUri: {{ .variant.storageUri | quote }}
  args:
    {{- include "warmgate.releaseArgs" . | nindent 4 }}
  resources:
    {{- include "warmgate.resources" .root | nindent 4 }}
{{- if $values.multiNode.enabled }}
workerSpec:
  pipelineParallelSize: {{ int $values.multiNode.nodes }}
  tensorParallelSize: {{ int $values.gpu.count }}
  {{- include "warmgate.podSpec" .root | nindent 2 }}
{{- end }}
{{- end }}

{{- define "warmgate.strategy" -}}
type: RollingUpdate
rollingUpdate:
  maxSurge: {{ int .Values.endpoint.strategy.maxSurge }}
  maxUnavailable: {{ int .Values.endpoint.strategy.maxUnavailable }}
{{- end }}

{{/* Waiting requests of the endpoint, summed: KEDA divides by the replicas. vLLM's label is model_name. */}}
{{- define "warmgate.waitingQuery" -}}
sum(vllm:num_requests_waiting{namespace="{{ .Release.Namespace }}",model_name="{{ include "warmgate.servedName" . }}"})
{{- end }}

{{/* The options of `helm upgrade` that make the canary the stable release: exactly the values that differ. */}}
{{- define "warmgate.promotion" -}}
{{- $values := .Values -}}
{{- $canary := include "warmgate.canary" . | fromYaml -}}
--set canary.enabled=false,canary.replicas=1,canary.keepStable=false --set-string model.release={{ $canary.release }},model.storageUri={{ $canary.storageUri | replace "," "\\," | squote }}
{{- if or $values.canary.image.tag $values.canary.image.digest }} --set-string image.tag={{ $canary.tag }},image.digest={{ $canary.digest }}{{ end }}
{{- with $values.canary.maxModelLen }} --set model.maxModelLen={{ int . }}{{ end }}
{{- with $values.canary.gpuMemoryUtilization }} --set-json model.gpuMemoryUtilization={{ . }}{{ end }}
{{- with $values.canary.args }} --set-json {{ printf "model.args=%s" (toRawJson .) | squote }}{{ end }}
{{- if $values.canary.env }}
{{- $env := deepCopy $values.canary.env -}}
{{- range $name, $value := $values.model.env -}}
{{- if not (hasKey $env $name) -}}
{{- $_ := set $env $name nil -}}
{{- end -}}
{{- end }} --set-json {{ printf "model.env=%s" (toRawJson $env) | squote }}
{{- end }}
{{- end }}
