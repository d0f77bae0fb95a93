{{/* Names and labels. What is rendered from them is decided elsewhere. */}}

{{/* The endpoint's name: InferenceService, Deployment, and prefix of everything else. */}}
{{- define "warmgate.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride -}}
{{- end }}

{{/* The model name that clients ask for. */}}
{{- define "warmgate.servedName" -}}
{{- default (include "warmgate.fullname" .) .Values.model.servedName -}}
{{- end }}

{{- define "warmgate.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "warmgate.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "warmgate.priorityClassName" -}}
{{- if and .Values.priorityClass.create (not .Values.priorityClass.name) -}}
warmgate-inference
{{- else -}}
{{- .Values.priorityClass.name -}}
{{- end -}}
{{- end }}

{{/* (dict "root" $ "component" "endpoint"): what selectors may use; never changes within a release. */}}
{{- define "warmgate.selectorLabels" -}}
app.kubernetes.io/name: warmgate
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* The same, and who made it. For everything that ends up in a Pod template: no version, so no restart. */}}
{{- define "warmgate.constantLabels" -}}
{{ include "warmgate.selectorLabels" . }}
app.kubernetes.io/part-of: warmgate
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{/* For objects that are no source of a Pod template. */}}
{{- define "warmgate.labels" -}}
{{ include "warmgate.constantLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* What selects the endpoint's Pods, canary and workers included. */}}
{{- define "warmgate.podSelector" -}}
{{- if .Values.kserve.enabled -}}
serving.kserve.io/inferenceservice: {{ include "warmgate.fullname" . }}
component: predictor
{{- else -}}
{{ include "warmgate.selectorLabels" (dict "root" . "component" "endpoint") }}
{{- end -}}
{{- end }}

{{/* (dict "root" $ "release" "r1"): the Deployment and Service behind a release. KServe's worker Pods look for a head
     Service without the predictor's name, so a multi-node predictor has none. */}}
{{- define "warmgate.deploymentName" -}}
{{- $fullname := include "warmgate.fullname" .root -}}
{{- if not .root.Values.kserve.enabled -}}
{{- $fullname -}}
{{- else if .root.Values.multiNode.enabled -}}
{{- $fullname }}-predictor
{{- else -}}
{{- $fullname }}-{{ .release }}-predictor
{{- end -}}
{{- end }}

{{/* The Service of the stable release. */}}
{{- define "warmgate.serviceName" -}}
{{- include "warmgate.deploymentName" (dict "root" . "release" .Values.model.release) -}}
{{- end }}

{{/* Where clients inside the cluster reach the stable release: port 80. */}}
{{- define "warmgate.baseUrl" -}}
http://{{ include "warmgate.serviceName" . }}.{{ .Release.Namespace }}.svc
{{- end }}

{{/* Where they reach the agent of one of its Pods. */}}
{{- define "warmgate.adminUrl" -}}
{{ include "warmgate.baseUrl" . }}:8081
{{- end }}

{{/* (list 2 "replica"): "2 replicas". */}}
{{- define "warmgate.counted" -}}
{{- $number := int (first .) -}}
{{- $number }} {{ last . }}{{ if ne $number 1 }}s{{ end -}}
{{- end }}

{{/* A number as it was written: Helm reads 1000000 as a float, and would say 1e+06. */}}
{{- define "warmgate.text" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end }}

{{/* A list of namespaces as a selector. */}}
{{- define "warmgate.namespaces" -}}
matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: In
    values:
      {{- toYaml . | nindent 6 }}
{{- end }}
