{{/* Every derived number, once: as YAML, to be read with fromYaml. Seconds, replicas and GPUs. */}}
{{- define "warmgate.numbers" -}}
{{- $endpoint := .Values.endpoint -}}
{{- $teardown := 10 -}}
{{- $load := int (ceil (round (mulf $endpoint.loadSeconds $endpoint.loadMargin) 6)) -}}
{{- $failures := int (ceil (divf $load 10)) -}}
{{- $budget := mul $failures 10 -}}
{{- $nodes := ternary (int .Values.multiNode.nodes) 1 .Values.multiNode.enabled -}}
{{- $gpus := ternary (mul (int .Values.gpu.count) $nodes) 0 .Values.gpu.enabled -}}
{{- $canaries := ternary (int .Values.canary.replicas) 0 .Values.canary.enabled -}}
{{- $keda := eq .Values.autoscaling.class "keda" -}}
{{- $most := ternary (int .Values.autoscaling.maxReplicas) (int $endpoint.replicas) $keda -}}
{{- $surge := ternary (int $endpoint.replicas) (int $endpoint.strategy.maxSurge) .Values.multiNode.enabled -}}
budget: {{ $budget }}
startupFailures: {{ $failures }}
grace: {{ add $endpoint.lameDuckSeconds $endpoint.drainSeconds $teardown }}
progressDeadline: {{ add $budget $endpoint.scheduleSlackSeconds }}
nodes: {{ $nodes }}
gpusPerReplica: {{ $gpus }}
replicas: {{ int $endpoint.replicas }}
mostReplicas: {{ $most }}
canaryReplicas: {{ $canaries }}
surge: {{ $surge }}
steadyGpus: {{ mul (add (int $endpoint.replicas) $canaries) $gpus }}
mostGpus: {{ mul (add $most $canaries) $gpus }}
rolloutGpus: {{ mul (add (int $endpoint.replicas) $canaries $surge) $gpus }}
{{- end }}

{{/* minReplicas of the stable release. KServe subtracts the replicas of a canary that is ready. */}}
{{- define "warmgate.stableReplicas" -}}
{{- $kept := and .Values.canary.enabled .Values.canary.keepStable -}}
{{- add .Values.endpoint.replicas (ternary .Values.canary.replicas 0 $kept) -}}
{{- end }}

{{/* The stable release, and the canary with what it inherits: the same members in both, so that what is rendered for a
     canary is byte for byte what is rendered for it once it is promoted. */}}
{{- define "warmgate.stable" -}}
{{- $model := .Values.model -}}
{{- dict "release" $model.release "storageUri" $model.storageUri "maxModelLen" $model.maxModelLen "gpuMemoryUtilization" $model.gpuMemoryUtilization "args" $model.args "env" $model.env "tag" .Values.image.tag "digest" .Values.image.digest "replicas" (include "warmgate.stableReplicas" . | int) | toYaml -}}
{{- end }}

{{- define "warmgate.canary" -}}
{{- $model := .Values.model -}}
{{- $canary := .Values.canary -}}
{{- $digest := .Values.image.digest -}}
{{- if or $canary.image.tag $canary.image.digest -}}
{{- $digest = $canary.image.digest -}}
{{- end -}}
{{- dict "release" $canary.release "storageUri" $canary.storageUri "maxModelLen" (default $model.maxModelLen $canary.maxModelLen) "gpuMemoryUtilization" (default $model.gpuMemoryUtilization $canary.gpuMemoryUtilization) "args" (default $model.args $canary.args) "env" (default $model.env $canary.env) "tag" (default .Values.image.tag $canary.image.tag) "digest" $digest "replicas" $canary.replicas | toYaml -}}
{{- end }}
