{{/* GPU placement, the only place that knows of it: limit or claim, selector and toleration of one Pod, as YAML to be
     read with fromYaml. All four are empty together when gpu.enabled is false. */}}
{{- define "warmgate.gpu" -}}
{{- $gpu := .Values.gpu -}}
{{- $limits := dict -}}
{{- $claims := list -}}
{{- $selector := dict -}}
{{- $tolerations := list -}}
{{- if $gpu.enabled -}}
{{- if $gpu.claim.enabled -}}
{{- $claims = list (dict "name" "gpu" "resourceClaimTemplateName" (include "warmgate.claimTemplateName" .)) -}}
{{- else -}}
{{- $_ := set $limits $gpu.resource (toString (int $gpu.count)) -}}
{{- end -}}
{{- $selector = deepCopy $gpu.nodeSelector -}}
{{- if $gpu.product -}}
{{- $_ := set $selector "nvidia.com/gpu.product" $gpu.product -}}
{{- end -}}
{{- $tolerations = $gpu.tolerations -}}
{{- end -}}
{{- dict "limits" $limits "claims" $claims "nodeSelector" $selector "tolerations" $tolerations | toYaml -}}
{{- end }}

{{/* What one Pod asks of a DRA driver. */}}
{{- define "warmgate.claimSpec" -}}
spec:
  devices:
    requests:
      - name: gpu
        exactly:
          deviceClassName: {{ .Values.gpu.claim.deviceClass }}
          allocationMode: ExactCount
          count: {{ int .Values.gpu.count }}
          {{- with .Values.gpu.claim.expression }}
          selectors:
            - cel:
                expression: {{ . | quote }}
          {{- end }}
{{- end }}

{{/* A claim template cannot be changed, so another spec gets another name. */}}
{{- define "warmgate.claimTemplateName" -}}
{{- $hash := include "warmgate.claimSpec" . | fromYaml | toJson | sha256sum | trunc 8 -}}
{{- include "warmgate.fullname" . }}-gpu-{{ $hash }}
{{- end }}

{{/* CPU and memory as stated, and the GPU. */}}
{{- define "warmgate.resources" -}}
{{- $gpu := include "warmgate.gpu" . | fromYaml -}}
{{- $stated := .Values.model.resources -}}
requests:
  {{- merge (deepCopy $gpu.limits) $stated.requests | toYaml | nindent 2 }}
limits:
  {{- merge (deepCopy $gpu.limits) $stated.limits | toYaml | nindent 2 }}
{{- if $gpu.claims }}
claims:
  - name: gpu
{{- end }}
{{- end }}
