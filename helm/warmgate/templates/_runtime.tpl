{{/* KServe's ServingRuntime: one per spec, named after it, so that editing values never restarts an endpoint that still
     uses the old one. */}}

{{/* (dict "root" $ "variant" v) */}}
{{- define "warmgate.runtimeSpec" -}}
supportedModelFormats:
  - name: warmgate-vllm
    version: "1"
    autoSelect: false
protocolVersions:
  - v1
containers:
  - {{ include "warmgate.container" (dict "root" .root "variant" .variant "args" (include "warmgate.runtimeArgs" . | fromYamlArray)) | nindent 4 | trim }}
volumes:
  {{- include "warmgate.volumes" .root | nindent 2 }}
{{- if .root.Values.multiNode.enabled }}
workerSpec:
  pipelineParallelSize: {{ int .root.Values.multiNode.nodes }}
  tensorParallelSize: {{ int .root.Values.gpu.count }}
  containers:
    - {{ include "warmgate.workerContainer" . | nindent 6 | trim }}
  volumes:
    {{- include "warmgate.volumes" .root | nindent 4 }}
{{- end }}
{{- end }}

{{- define "warmgate.runtimeName" -}}
{{- $hash := include "warmgate.runtimeSpec" . | fromYaml | toJson | sha256sum | trunc 8 -}}
{{- include "warmgate.fullname" .root }}-{{ $hash }}
{{- end }}

{{- define "warmgate.runtime" -}}
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata:
  name: {{ include "warmgate.runtimeName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "warmgate.constantLabels" (dict "root" .root "component" "runtime") | nindent 4 }}
spec:
  {{- include "warmgate.runtimeSpec" . | nindent 2 }}
{{- end }}
