{{/* Where the weights are, without KServe. KServe mounts them at /mnt/models by itself. */}}

{{/* The LocalModelCache is of the whole cluster. Its URI cannot be changed, so another URI gets another name. KServe puts the
     name into a label: it is shorter than the gateway's host, which is checked. */}}
{{- define "warmgate.modelCacheName" -}}
{{ .Release.Namespace }}-{{ include "warmgate.fullname" . }}-{{ .Values.model.storageUri | sha256sum | trunc 8 }}
{{- end }}

{{/* (dict "root" $ "variant" v): what vLLM is given as --model. */}}
{{- define "warmgate.modelPath" -}}
{{- if and (not .root.Values.kserve.enabled) (hasPrefix "hf://" .variant.storageUri) -}}
{{- .variant.storageUri | trimPrefix "hf://" | splitList ":" | first -}}
{{- else -}}
/mnt/models
{{- end -}}
{{- end }}

{{/* The volume of the weights, or nothing where vLLM fetches them. */}}
{{- define "warmgate.modelVolume" -}}
{{- $uri := .variant.storageUri -}}
{{- if hasPrefix "pvc://" $uri }}
- name: model
  persistentVolumeClaim:
    claimName: {{ $uri | trimPrefix "pvc://" | splitList "/" | first }}
    readOnly: true
{{- else if hasPrefix "oci://" $uri }}
- name: model
  image:
    reference: {{ $uri | trimPrefix "oci://" }}
    pullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end -}}
{{- end }}

{{- define "warmgate.modelMount" -}}
{{- $uri := .variant.storageUri -}}
{{- if hasPrefix "pvc://" $uri }}
- name: model
  mountPath: /mnt/models
  readOnly: true
  {{- with $uri | trimPrefix "pvc://" | splitList "/" | rest | join "/" | trimSuffix "/" }}
  subPath: {{ . }}
  {{- end }}
{{- else if hasPrefix "oci://" $uri }}
- name: model
  mountPath: /mnt/models
  readOnly: true
  subPath: models
{{- end -}}
{{- end }}
