{{/* The names of one load test: they carry a digest of all that it is made from, for a Job is never edited. */}}

{{- define "warmgate.loadtest.run" -}}
{{- $made := list .Values.loadtest .Values.verify .Values.tools .Values.model.apiKey .Values.image.pullSecrets .Chart.Version
  (include "warmgate.baseUrl" .) (include "warmgate.servedName" .) (include "warmgate.tools.image" .) -}}
{{- toJson $made | sha256sum | trunc 8 -}}
{{- end }}

{{- define "warmgate.loadtest.name" -}}
{{- printf "%s-load-%s" (include "warmgate.fullname" . | trunc 37 | trimSuffix "-") (include "warmgate.loadtest.run" .) -}}
{{- end }}

{{/* (dict "root" $ "role" "master"): labels that tell the master's Pod from a worker's, and one run from another. */}}
{{- define "warmgate.loadtest.selectorLabels" -}}
{{ include "warmgate.selectorLabels" (dict "root" .root "component" "loadtest") }}
warmgate/loadtest-run: {{ include "warmgate.loadtest.run" .root | quote }}
warmgate/loadtest-role: {{ .role }}
{{- end }}

{{- define "warmgate.loadtest.jobSpec" -}}
backoffLimit: 0
activeDeadlineSeconds: {{ int .Values.loadtest.deadlineSeconds }}
ttlSecondsAfterFinished: {{ int .Values.loadtest.keepSeconds }}
{{- end }}
