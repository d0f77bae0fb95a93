{{/* Rules and alerts: the text of rules/*.yaml, told which endpoint it is about and what was declared of it. */}}

{{/* (dict "root" $ "file" "rules/readiness.yaml"): the groups of a file as YAML, without the alerts that were switched off. */}}
{{- define "warmgate.monitoring.groups" -}}
{{- $root := .root -}}
{{- $monitoring := $root.Values.monitoring -}}
{{- $endpoint := include "warmgate.fullname" $root -}}
{{- $of := printf "namespace=%q,model_endpoint=%q" $root.Release.Namespace $endpoint -}}
{{- $told := dict
  "endpoint" $endpoint
  "namespace" $root.Release.Namespace
  "of" $of
  "all" (printf "{%s}" $of)
  "replicas" $root.Values.endpoint.replicas
  "loadSeconds" (int $root.Values.endpoint.loadSeconds)
  "budget" ((include "warmgate.numbers" $root | fromYaml).budget | int)
  "rules" $monitoring.rules
  "dcgm" $monitoring.dcgm
  "Template" $root.Template -}}
{{- $read := tpl ($root.Files.Get .file) $told | fromYaml -}}
{{- if not (hasKey $read "groups") -}}
{{- fail (printf "%s: %s" .file (default "no groups" $read.Error)) -}}
{{- end -}}
{{- range $group := $read.groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- if hasKey $rule "alert" -}}
{{- $_ := set $rule "labels" (merge (deepCopy $monitoring.rules.alertLabels) $rule.labels) -}}
{{- end -}}
{{- if not (has (get $rule "alert") $monitoring.rules.disabled) -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- end -}}
{{- if $rules }}
{{ list (dict "name" $group.name "rules" $rules) | toYaml }}
{{- end -}}
{{- end -}}
{{- end }}
