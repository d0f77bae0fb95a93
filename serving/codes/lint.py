"""Codes of `warmgate lint`: one for each rule. How grave a fault is, and why, stands with the rule."""

from __future__ import annotations

from typing import Final

from serving.codes.code import Code

# placement
GPU_TOLERATED: Final = Code(
    "WG301",
    "Do Pods that ask for a GPU tolerate the GPU pool's taint?",
    "Every Pod with a GPU has a toleration for the pool's taint.",
)
GPU_SELECTED: Final = Code(
    "WG302",
    "Do Pods that ask for a GPU name the pool they are for?",
    "Every Pod with a GPU selects its nodes by label or affinity.",
)
GPU_ASKED_FOR: Final = Code(
    "WG303",
    "Do Pods that are sent to GPU nodes ask for a GPU?",
    "Every Pod that selects or tolerates GPU nodes has a GPU limit or claim.",
)
GPU_WHOLE: Final = Code(
    "WG304",
    "Are amounts of GPUs and other devices whole, and requested as limited?",
    "Every extended resource has a whole limit, and no request that differs.",
)
GPU_RESOURCE_KNOWN: Final = Code(
    "WG305",
    "Are extended resources spelt as a device plugin advertises them?",
    "Every extended resource is a known one, or a node offers it.",
)
MIG_PROFILE_KNOWN: Final = Code(
    "WG306", "Do MIG resources name a profile that exists?", "Every MIG resource is a profile of some GPU."
)
GPU_NOT_SHARED: Final = Code(
    "WG307",
    "Do production Pods have their GPU to themselves?",
    "No Pod of the production class gets a time-sliced or otherwise shared GPU.",
)
IMAGE_NOT_REWRITTEN: Final = Code(
    "WG308",
    "Does KServe keep the image that was written?",
    "No runtime leads KServe to swap the image for another build of it.",
)
GPUS_USED: Final = Code(
    "WG309",
    "Does the engine use exactly the GPUs that it gets?",
    "The parallel sizes of an engine multiply to the GPUs of its Pod, or of head and workers together.",
)
CRD_SERVED: Final = Code(
    "WG310",
    "Does the API server know every kind?",
    "Every kind and version is of Kubernetes 1.29 to 1.37, of a known operator, or of a CustomResourceDefinition among "
    "the documents or in the cluster.",
)
PRIORITY_KNOWN: Final = Code(
    "WG311",
    "Does every PriorityClass exist?",
    "Every priorityClassName is among the documents, built in, or in the cluster.",
)
FITS_A_NODE: Final = Code(
    "WG312",
    "Does some node fit each Pod?",
    "For every Pod some live node has the labels, tolerated taints and allocatable resources that it needs.",
)

# probes
STARTUP_PROBED: Final = Code(
    "WG320",
    "Does every engine have a startup probe?",
    "Every vLLM server has a startup probe, so that liveness waits for the load.",
)
STARTUP_BUDGET: Final = Code(
    "WG321",
    "Does the startup budget cover the declared load time?",
    "initialDelaySeconds + failureThreshold x periodSeconds is at least the declared load time.",
)
ENGINE_TIMEOUT: Final = Code(
    "WG322",
    "Does the engine wait as long as its startup probe does?",
    "vLLM's ready timeout and the agent's are no shorter than the startup budget.",
)
READINESS_REAL: Final = Code(
    "WG323",
    "Does readiness ask for the model's real state?",
    "Every vLLM server has a readiness probe that fails while it hangs, sleeps or drains, such as the agent's /readyz.",
)
LIVENESS_PATIENT: Final = Code(
    "WG324", "Does liveness leave a busy engine alone?", "No liveness probe ends a vLLM server that is merely busy."
)
LIVENESS_WAITS: Final = Code(
    "WG325",
    "Does liveness leave a loading engine alone?",
    "No liveness probe can fail before the declared load time is over.",
)
PROBE_REACHES: Final = Code(
    "WG326",
    "Do probes ask a port that the container has?",
    "Every named probe port is declared, and every number is one that something listens on.",
)

# shutdown
GRACE_SUFFICES: Final = Code(
    "WG330",
    "Is the grace period longer than lame duck and drain?",
    "terminationGracePeriodSeconds covers lame duck, drain and teardown.",
)
STREAMS_DRAINED: Final = Code(
    "WG331", "Does the engine let running streams end?", "Every vLLM server drains at SIGTERM within a stated bound."
)
ENDPOINTS_LET_GO: Final = Code(
    "WG332",
    "Does a Pod serve on until endpoints have let go of it?",
    "Every vLLM server has a lame duck or a preStop pause of at least 3 s.",
)

# rollout
CAPACITY_KEPT: Final = Code(
    "WG340", "Does a rollout keep the warm capacity?", "No rollout strategy removes a warm Pod before another is ready."
)
SURGE_POSSIBLE: Final = Code(
    "WG341",
    "Can a rollout surge?",
    "Pool and quota hold the Pods of a surge too, and the strategy lets some Pod come or go.",
)
DEADLINE_SUFFICES: Final = Code(
    "WG342", "Is the progress deadline longer than the load?", "progressDeadlineSeconds exceeds the declared load time."
)
DISRUPTION_BUDGETED: Final = Code(
    "WG343", "Do serving Pods have a PodDisruptionBudget?", "Every replicated vLLM server is covered by one."
)
DRAINS_ALLOWED: Final = Code(
    "WG344",
    "Does every PodDisruptionBudget let nodes be drained?",
    "Every budget leaves room for one eviction, and no Pod stands under two.",
)

# scale
SCALED_ON_LOAD: Final = Code(
    "WG350", "Does autoscaling follow the load on the engine?", "No vLLM server is scaled on CPU or memory."
)
SCALE_FITS: Final = Code(
    "WG351", "Do pool and quota hold the most replicas?", "What the most replicas take is within pool and quota."
)
SCALE_FROM_ZERO: Final = Code(
    "WG352",
    "Can what is at zero replicas come back?",
    "Nothing scales to zero on a metric that vanishes with its Pods.",
)
QUERY_MATCHES: Final = Code(
    "WG353",
    "Do autoscaling queries name metrics and labels that vLLM has?",
    "Every vLLM metric and label in a query exists.",
)
ONE_SCALER: Final = Code(
    "WG354", "Does one autoscaler alone decide?", "No two autoscalers scale the same Pods, KServe's own included."
)

# canary
CANARY_URI: Final = Code(
    "WG360", "Does each canary have a model URI of its own?", "Every canary's storage URI differs from stable's."
)
CANARY_ACCEPTED: Final = Code(
    "WG361",
    "Does KServe take every canary as it is written?",
    "Names, modes, shares and members are as KServe's CRD and webhook require, and none is ignored.",
)
CANARY_REPLICAS: Final = Code(
    "WG362", "Does every canary get Pods?", "Every canary has at least one Pod, and no more than stable's minReplicas."
)
CANARY_SCALER: Final = Code("WG363", "Does the autoscaler class allow a canary?", "No canary stands beside KEDA.")
CANARY_CACHE: Final = Code(
    "WG364", "Does the model cache allow a canary?", "No canary stands beside a LocalModelCache of stable's URI."
)
CANARY_PROMOTABLE: Final = Code(
    "WG365",
    "Can the canary be promoted without a restart?",
    "Stable is named, and both blocks state the same members explicitly.",
)

# kserve
METADATA_CONSTANT: Final = Code(
    "WG366",
    "Is the InferenceService's metadata constant over releases?",
    "No label or annotation that KServe copies into Pods changes with a chart or app version.",
)
PYTHONPATH_UNSET: Final = Code("WG367", "Is PYTHONPATH left alone?", "No container that KServe checks sets it.")
LABELS_OURS: Final = Code(
    "WG368", "Are KServe's own labels left to KServe?", "No Deployment, Service or Pod that others make carries them."
)
PORT_NAMES_PLAIN: Final = Code("WG369", "Do port names say what is spoken?", "No HTTP port is named after gRPC or h2c.")
SERVING_FIRST: Final = Code(
    "WG370", "Is kserve-container the first container?", "Wherever KServe expects it, it stands first under this name."
)
MODE_EXPLICIT: Final = Code(
    "WG371",
    "Does every InferenceService state its mode and autoscaler?",
    "deploymentMode and autoscalerClass are written down, and valid.",
)
TIMEOUT_STATED: Final = Code(
    "WG372", "Does the route let long streams live?", "Every predictor states a timeout of at least 300 s."
)
RESOURCES_STATED: Final = Code(
    "WG373",
    "Are CPU and memory stated?",
    "Every serving container states what KServe or a LimitRange would otherwise fill in.",
)
STRATEGY_STATED: Final = Code(
    "WG374",
    "Is the rollout strategy stated?",
    "Every stable predictor has a deploymentStrategy, and no canary has one, which nobody would read.",
)

# storage
WEIGHTS_SHARED: Final = Code(
    "WG375",
    "Are weights fetched once and not by every Pod?",
    "Every model comes from a shared volume, an image or a node cache.",
)

# kserve, and every Deployment
STRATEGY_ACCEPTED: Final = Code(
    "WG376",
    "Does the API take every rollout strategy as it is written?",
    "Every type is known, and every amount is a whole number or a percentage.",
)

# hygiene
SERVICE_LINKS_OFF: Final = Code(
    "WG380", "Are service links off where vLLM runs?", "Every Pod that runs vLLM has enableServiceLinks: false."
)
IMAGE_PINNED: Final = Code(
    "WG381", "Is every image pinned?", "No image has a tag that moves, such as latest or nightly, or none."
)
SECRETS_HIDDEN: Final = Code(
    "WG382",
    "Are secrets kept out of arguments and literal values?",
    "No API key, token or password is written into a document.",
)
PROMPTS_PRIVATE: Final = Code(
    "WG383", "Do prompts stay out of logs and sinks?", "No switch is on that writes prompts or answers anywhere."
)
TELEMETRY_OFF: Final = Code("WG384", "Does the engine keep its usage to itself?", "vLLM's usage telemetry is off.")
NETWORK_CLOSED: Final = Code(
    "WG385",
    "Does a NetworkPolicy close every serving Pod?",
    "Policies limit both directions of every vLLM server, and none opens it to everybody.",
)
TOKEN_UNMOUNTED: Final = Code(
    "WG386",
    "Is the API token kept out of serving Pods?",
    "automountServiceAccountToken is false for every Pod that runs vLLM.",
)
NOT_ROOT: Final = Code(
    "WG387",
    "Are serving containers kept from running as root?",
    "Every container that runs vLLM is non-root, without privileges to gain.",
)
ROOT_READ_ONLY: Final = Code(
    "WG388", "Is the root file system read-only?", "Every container that runs vLLM has readOnlyRootFilesystem."
)
SHM_LARGE: Final = Code(
    "WG389",
    "Is /dev/shm large enough for the engine?",
    "Every engine on several GPUs mounts a memory volume at /dev/shm.",
)

# kinds
FINITE_ENDS: Final = Code(
    "WG390", "Is finite work a Job?", "Nothing that is started again whenever it ends runs work that ends."
)
ENDLESS_SERVES: Final = Code("WG391", "Is endless work no Job?", "No Job runs a server.")

# wiring
SELECTOR_OWN: Final = Code(
    "WG392",
    "Does every selector match its own template?",
    "Every controller's selector matches the labels of its Pods.",
)
SELECTOR_MEETS: Final = Code(
    "WG393",
    "Does every selector meet a Pod or a Service?",
    "Every Service, monitor, PDB and NetworkPolicy selects something among the documents.",
)
TARGET_EXISTS: Final = Code(
    "WG394",
    "Does every reference name an object that is there?",
    "What autoscalers, routes and InferenceServices name is among the documents, or in the cluster.",
)
PORT_EXISTS: Final = Code(
    "WG395",
    "Does every reference to a port lead to one?",
    "Every port that a Service, monitor, policy or route leads to is declared, or listened on.",
)
UNIQUE: Final = Code(
    "WG396", "Is every object written once?", "No two documents have the same kind, namespace and name."
)
IS_OBJECT: Final = Code(
    "WG397", "Is every document a Kubernetes object?", "Every document has apiVersion, kind and a name."
)

# the lint itself
ALLOWANCES_SENSIBLE: Final = Code(
    "WG398",
    "Does every allowance name a rule and a reason?",
    "Each entry of a warmgate/allow annotation is a rule's code and why, on the object itself.",
)

# kserve, once more
RUNTIME_VERSIONED: Final = Code(
    "WG399",
    "Does every runtime have a new name for every version?",
    "Every runtime's name has a version or a hash in it.",
)
