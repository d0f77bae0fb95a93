{{/* Refuses, before anything is applied, what can never work: one sentence each, with the remedy. What merely is unwise is
     told by NOTES.txt and by `warmgate lint`. */}}
{{- define "warmgate.check" -}}
{{- include "warmgate.checkNames" . -}}
{{- include "warmgate.checkGpu" . -}}
{{- include "warmgate.checkEngine" . -}}
{{- include "warmgate.checkMultiNode" . -}}
{{- include "warmgate.checkCanary" . -}}
{{- include "warmgate.checkModel" . -}}
{{- include "warmgate.checkReplicas" . -}}
{{- include "warmgate.checkGpuBudget" . -}}
{{- end }}

{{- define "warmgate.checkNames" -}}
{{- $name := include "warmgate.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) -}}
{{- fail (printf "the name %q must start with a letter and hold only a-z, 0-9 and -; set fullnameOverride" $name) -}}
{{- end -}}
{{- range list $name .Values.model.release .Values.canary.release -}}
{{- if regexMatch "^(y|yes|n|no|on|off|true|false|null)$" . -}}
{{- fail (printf "the name %q is no text in YAML; choose another" .) -}}
{{- end -}}
{{- end -}}
{{- $taken := include "warmgate.constantLabels" (dict "root" . "component" "endpoint") | fromYaml | merge (dict "app" "" "component" "") -}}
{{- range $key, $value := .Values.pod.labels -}}
{{- if hasKey $taken $key -}}
{{- fail (printf "pod.labels has %s, which the chart or KServe sets; use a label of your own" $key) -}}
{{- end -}}
{{- end -}}
{{- if eq $name "vllm" -}}
{{- fail "a Service named vllm makes Kubernetes inject VLLM_PORT, which kills vLLM in other Pods of the namespace; set fullnameOverride" -}}
{{- end -}}
{{- if .Values.kserve.enabled -}}
{{- range list .Values.model.release .Values.canary.release -}}
{{- $label := printf "isvc.%s" (include "warmgate.deploymentName" (dict "root" $ "release" .)) -}}
{{- if $.Values.multiNode.enabled -}}
{{- $label = printf "%s-worker" $label -}}
{{- end -}}
{{- if gt (len $label) 63 -}}
{{- fail (printf "KServe's label app: %s has more than 63 characters; shorten fullnameOverride or the release" $label) -}}
{{- end -}}
{{- end -}}
{{- $host := printf "%s-predictor-%s" $name .Release.Namespace -}}
{{- if gt (len $host) 63 -}}
{{- fail (printf "%s, the first label of a host at the gateway, has more than 63 characters; shorten fullnameOverride" $host) -}}
{{- end -}}
{{- else if gt (len $name) 63 -}}
{{- fail (printf "the name %s has more than 63 characters, too many for a Service; set fullnameOverride" $name) -}}
{{- end -}}
{{- end }}

{{- define "warmgate.checkGpu" -}}
{{- $gpu := .Values.gpu -}}
{{- range $key, $value := .Values.pod.nodeSelector -}}
{{- if hasPrefix "nvidia.com/" $key -}}
{{- fail (printf "pod.nodeSelector has %s: state GPU placement in gpu.nodeSelector, where limit, selector and toleration stand together" $key) -}}
{{- end -}}
{{- end -}}
{{- range .Values.pod.tolerations -}}
{{- if hasPrefix "nvidia.com/" (default "" .key) -}}
{{- fail (printf "pod.tolerations has %s: state GPU placement in gpu.tolerations, where limit, selector and toleration stand together" .key) -}}
{{- end -}}
{{- end -}}
{{- range $part := list "requests" "limits" -}}
{{- range $key, $value := index $.Values.model.resources $part -}}
{{- if or (hasPrefix "nvidia.com/" $key) (eq $key $gpu.resource) -}}
{{- fail (printf "model.resources.%s has %s: state the GPU in gpu.resource and gpu.count" $part $key) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $gpu.enabled -}}
{{- $known := "^nvidia\\.com/(gpu|mig-([0-9]+c\\.)?[0-9]+g\\.[0-9]+gb(\\.me(\\.all)?)?)(\\.shared)?$" -}}
{{- if and (hasPrefix "nvidia.com/" $gpu.resource) (not (regexMatch $known $gpu.resource)) -}}
{{- fail (printf "gpu.resource %s is none that NVIDIA's device plugin advertises; use nvidia.com/gpu, nvidia.com/gpu.shared or a profile such as nvidia.com/mig-1g.10gb" $gpu.resource) -}}
{{- end -}}
{{- if and (hasPrefix "nvidia.com/mig-" $gpu.resource) (gt (int $gpu.count) 1) -}}
{{- fail "gpu.count must be 1 with a MIG profile: vLLM cannot spread one model over slices; choose a larger profile" -}}
{{- end -}}
{{- if hasSuffix ".shared" $gpu.resource -}}
{{- if eq .Values.class "production" -}}
{{- fail (printf "gpu.resource %s is a time-sliced GPU without memory or fault isolation: refused for class production; use whole GPUs or MIG, or class development" $gpu.resource) -}}
{{- end -}}
{{- if gt (int $gpu.count) 1 -}}
{{- fail "gpu.count must be 1 with a time-sliced GPU: two slices are not more of it" -}}
{{- end -}}
{{- if eq (float64 .Values.model.gpuMemoryUtilization) 0.0 -}}
{{- fail "a time-sliced GPU needs model.gpuMemoryUtilization: vLLM's default takes nearly all memory, and its neighbours do not start; their sum must stay below 1" -}}
{{- end -}}
{{- if $gpu.claim.enabled -}}
{{- fail "gpu.claim asks for whole devices; a time-sliced gpu.resource goes without it" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What the chart computes may not be said a second time. */}}
{{- define "warmgate.checkEngine" -}}
{{- $sets := dict "--model" "model.storageUri" "--served-model-name" "model.servedName" "--port" "nothing: it is 8080" "--host" "nothing: it is every address" "--tensor-parallel-size" "gpu.count, which it equals" "-tp" "gpu.count, which it equals" "--pipeline-parallel-size" "multiNode.nodes, which it equals" "-pp" "multiNode.nodes, which it equals" "--distributed-executor-backend" "multiNode.enabled" "--shutdown-timeout" "endpoint.drainSeconds" "--max-model-len" "model.maxModelLen" "--gpu-memory-utilization" "model.gpuMemoryUtilization" "--api-key" "model.apiKey.secretName: an argument shows in every listing of Pods" -}}
{{- range $where, $args := dict "model" .Values.model.args "canary" .Values.canary.args -}}
{{- range $args -}}
{{- $option := . | splitList "=" | first | splitList " " | first | replace "_" "-" -}}
{{- if hasKey $sets $option -}}
{{- fail (printf "%s.args has %s, which the chart sets; use %s" $where $option (get $sets $option)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $computed := dict "WARMGATE_STARTUP_TIMEOUT" "endpoint.loadSeconds and loadMargin" "VLLM_ENGINE_READY_TIMEOUT_S" "endpoint.loadSeconds and loadMargin" "WARMGATE_LAME_DUCK" "endpoint.lameDuckSeconds" "WARMGATE_DRAIN_TIMEOUT" "endpoint.drainSeconds" "WARMGATE_ADMIN_PORT" "nothing: it is 8081" "WARMGATE_ADMIN_HOST" "nothing: it is every address" "VLLM_NO_USAGE_STATS" "nothing: usage statistics are off" "DO_NOT_TRACK" "nothing: usage statistics are off" "VLLM_API_KEY" "model.apiKey.secretName" "VLLM_HOST_IP" "multiNode.enabled" "PYTHONPATH" "an image that needs none: KServe rejects it" -}}
{{- range $where, $env := dict "model" .Values.model.env "canary" .Values.canary.env -}}
{{- range $name, $value := $env -}}
{{- if hasKey $computed $name -}}
{{- fail (printf "%s.env has %s; use %s" $where $name (get $computed $name)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "warmgate.checkModel" -}}
{{- $cache := .Values.kserve.localModelCache -}}
{{- $uris := list .Values.model.storageUri -}}
{{- if .Values.canary.enabled -}}
{{- $uris = append $uris .Values.canary.storageUri -}}
{{- end -}}
{{- range $uris -}}
{{- if and (hasPrefix "pvc://" .) (or (contains ".." .) (not (regexMatch "^pvc://[^/]+(/[^/]+)*/?$" .))) -}}
{{- fail (printf "%s is no pvc://CLAIM/PATH with a plain path within the claim, which the kubelet could mount" .) -}}
{{- end -}}
{{- $local := or $cache.enabled (hasPrefix "pvc://" .) (hasPrefix "oci://" .) (hasPrefix "oci+native://" .) -}}
{{- if and (not $local) $.Values.networkPolicy.enabled (not $.Values.networkPolicy.modelStore) -}}
{{- fail (printf "every Pod fetches %s itself, and the NetworkPolicy lets it reach nothing; name the store in networkPolicy.modelStore, or use pvc:// or oci://" .) -}}
{{- end -}}
{{- if not $.Values.kserve.enabled -}}
{{- if not (or (hasPrefix "pvc://" .) (hasPrefix "oci://" .) (hasPrefix "hf://" .)) -}}
{{- fail (printf "%s needs KServe; without it model.storageUri is pvc://, oci:// or hf://" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if $cache.enabled -}}
{{- if not .Values.kserve.enabled -}}
{{- fail "kserve.localModelCache needs kserve.enabled" -}}
{{- end -}}
{{- if or (hasPrefix "pvc://" .Values.model.storageUri) (hasPrefix "oci" .Values.model.storageUri) -}}
{{- fail (printf "kserve.localModelCache keeps what KServe downloads, and %s is not downloaded; disable it" .Values.model.storageUri) -}}
{{- end -}}
{{- if not (and $cache.modelSize $cache.nodeGroups) -}}
{{- fail "kserve.localModelCache needs modelSize and nodeGroups" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "warmgate.checkMultiNode" -}}
{{- if .Values.multiNode.enabled -}}
{{- if not .Values.kserve.enabled -}}
{{- fail "multiNode needs kserve.enabled: KServe makes the worker Pods" -}}
{{- end -}}
{{- if or (not .Values.gpu.enabled) .Values.gpu.claim.enabled (ne .Values.gpu.resource "nvidia.com/gpu") -}}
{{- fail "multiNode needs whole GPUs: gpu.enabled, gpu.resource nvidia.com/gpu and no gpu.claim" -}}
{{- end -}}
{{- if ne (int .Values.endpoint.replicas) 1 -}}
{{- fail "multiNode needs endpoint.replicas 1: the workers of two heads could not tell them apart; install a second release" -}}
{{- end -}}
{{- if ne .Values.autoscaling.class "none" -}}
{{- fail "multiNode needs autoscaling.class none: KServe scales no multi-node predictor" -}}
{{- end -}}
{{- if .Values.canary.enabled -}}
{{- fail "KServe allows no canary of a multi-node predictor; install the new release beside it and move the traffic at the gateway" -}}
{{- end -}}
{{- if not (or (hasPrefix "pvc://" .Values.model.storageUri) (hasPrefix "oci://" .Values.model.storageUri)) -}}
{{- fail "multiNode needs a model.storageUri of pvc:// or oci://: KServe accepts no other" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "warmgate.checkCanary" -}}
{{- if .Values.canary.enabled -}}
{{- $canary := .Values.canary -}}
{{- if not .Values.kserve.enabled -}}
{{- fail "canary needs kserve.enabled: without KServe install the new release beside this one and move the traffic at the gateway" -}}
{{- end -}}
{{- if not $canary.storageUri -}}
{{- fail "canary.storageUri is empty; give the canary weights of its own path" -}}
{{- end -}}
{{- if eq $canary.storageUri .Values.model.storageUri -}}
{{- fail "canary.storageUri must differ from model.storageUri: KServe promotes a canary without a restart only if they differ; give every release its own path" -}}
{{- end -}}
{{- if eq $canary.release .Values.model.release -}}
{{- fail (printf "canary.release %s is the stable release's name too; name it otherwise" $canary.release) -}}
{{- end -}}
{{- if lt (int $canary.replicas) 1 -}}
{{- fail "canary.replicas 0 is a canary without Pods, which is never ready; set 1 or more, with trafficPercent 0 as well" -}}
{{- end -}}
{{- if gt (int $canary.replicas) (int .Values.endpoint.replicas) -}}
{{- fail (printf "canary.replicas %d exceeds endpoint.replicas %d, which KServe rejects; lower it" (int $canary.replicas) (int .Values.endpoint.replicas)) -}}
{{- end -}}
{{- if ne .Values.autoscaling.class "none" -}}
{{- fail "KEDA and a canary exclude each other: KServe makes the canary a ScaledObject without triggers and stops; set autoscaling.class none for the time of the canary" -}}
{{- end -}}
{{- if .Values.kserve.localModelCache.enabled -}}
{{- fail "kserve.localModelCache and a canary exclude each other: the cache of the stable weights is mounted into the canary; use pvc:// or oci://" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "warmgate.checkReplicas" -}}
{{- $endpoint := .Values.endpoint -}}
{{- if and (eq (int $endpoint.strategy.maxSurge) 0) (eq (int $endpoint.strategy.maxUnavailable) 0) -}}
{{- fail "endpoint.strategy with maxSurge 0 and maxUnavailable 0 allows no rollout; raise one of them" -}}
{{- end -}}
{{- if and (eq .Values.autoscaling.class "keda") (lt (int .Values.autoscaling.maxReplicas) (int $endpoint.replicas)) -}}
{{- fail (printf "autoscaling.maxReplicas %d is below endpoint.replicas %d; raise it" (int .Values.autoscaling.maxReplicas) (int $endpoint.replicas)) -}}
{{- end -}}
{{- if and .Values.resourceQuota.enabled (not .Values.resourceQuota.gpus) (not .Values.resourceQuota.hard) -}}
{{- fail "resourceQuota.enabled bounds nothing; set resourceQuota.gpus or resourceQuota.hard" -}}
{{- end -}}
{{- end }}

{{/* Replicas x GPUs against what there is. */}}
{{- define "warmgate.checkGpuBudget" -}}
{{- $numbers := include "warmgate.numbers" . | fromYaml -}}
{{- $per := int $numbers.gpusPerReplica -}}
{{- $bounds := dict -}}
{{- if .Values.gpu.poolSize -}}
{{- $_ := set $bounds "gpu.poolSize" (int .Values.gpu.poolSize) -}}
{{- end -}}
{{- if and .Values.resourceQuota.enabled .Values.resourceQuota.gpus -}}
{{- $_ := set $bounds "resourceQuota.gpus" (int .Values.resourceQuota.gpus) -}}
{{- end -}}
{{- range $name, $bound := $bounds -}}
{{- if gt (int $numbers.mostGpus) $bound -}}
{{- fail (printf "%d replicas x %d GPUs = %d exceed %s %d; lower the replicas or raise it" (add (int $numbers.mostReplicas) (int $numbers.canaryReplicas)) $per (int $numbers.mostGpus) $name $bound) -}}
{{- end -}}
{{- if and (eq (int $.Values.endpoint.strategy.maxUnavailable) 0) (gt (mul (add (int $numbers.replicas) 1) $per) $bound) -}}
{{- fail (printf "no rollout could ever finish: %d GPUs in use and %d for one more Pod exceed %s %d, and maxUnavailable is 0; set endpoint.strategy.maxSurge 0 and maxUnavailable 1, or lower endpoint.replicas" (mul (int $numbers.replicas) $per) $per $name $bound) -}}
{{- end -}}
{{- end -}}
{{- end }}
