{{/* One replica over several nodes. KServe gives the workers HEAD_SVC, the headless Service of their head. */}}

{{/* The head starts Ray, then becomes the agent; vLLM's arguments follow. */}}
{{- define "warmgate.headCommand" -}}
- /bin/bash
- -c
- >-
  ray start --head --port=6379 --disable-usage-stats --include-dashboard=false --object-store-memory=1073741824
  && exec warmgate serve -- "$@"
- warmgate
{{- end }}

{{/* A worker joins the head and stays until the head's streams have ended. */}}
{{- define "warmgate.workerContainer" -}}
{{- $numbers := include "warmgate.numbers" .root | fromYaml -}}
{{- $endpoint := .root.Values.endpoint -}}
name: worker-container
image: {{ include "warmgate.image" . | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
command:
  - /bin/bash
  - -c
args:
  - >-
    until ray health-check --address "$HEAD_SVC:6379"; do sleep 5; done;
    exec ray start --address="$HEAD_SVC:6379" --disable-usage-stats --object-store-memory=1073741824 --block
env:
  {{- include "warmgate.engineEnv" . | nindent 2 }}
resources:
  {{- include "warmgate.resources" .root | nindent 2 }}
lifecycle:
  preStop:
    exec:
      command: [sleep, {{ add $endpoint.lameDuckSeconds $endpoint.drainSeconds | quote }}]
startupProbe:
  exec:
    command: [/bin/bash, -c, 'ray health-check --address "$HEAD_SVC:6379"']
  periodSeconds: 10
  timeoutSeconds: 10
  failureThreshold: {{ $numbers.startupFailures | int }}
readinessProbe:
  exec:
    command: [/bin/bash, -c, 'ray health-check --address "$HEAD_SVC:6379"']
  periodSeconds: 30
  timeoutSeconds: 20
  failureThreshold: 2
securityContext:
  {{- include "warmgate.containerSecurity" . | nindent 2 }}
volumeMounts:
  {{- include "warmgate.mounts" . | nindent 2 }}
{{- end }}
