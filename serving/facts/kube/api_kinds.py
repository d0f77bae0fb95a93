"""Which kinds there are: those of Kubernetes itself, 1.29 to 1.37, and those of operators that serve models or stand
beside them. A table with a few questions; decides nothing. What an operator adds later is not in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

RELEASES: Final = "1.29 to 1.37"

OWN: Final[Mapping[str, str]] = {
    "v1": "Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolume"
    " PersistentVolumeClaim Pod PodTemplate ReplicationController ResourceQuota Secret Service ServiceAccount",
    "admissionregistration.k8s.io/v1": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding"
    " MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding"
    " ValidatingWebhookConfiguration",
    "admissionregistration.k8s.io/v1alpha1": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding"
    " ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding",
    "admissionregistration.k8s.io/v1beta1": "MutatingAdmissionPolicy MutatingAdmissionPolicyBinding"
    " ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding",
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "apiregistration.k8s.io/v1": "APIService",
    "apps/v1": "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet",
    "authentication.k8s.io/v1": "SelfSubjectReview TokenRequest TokenReview",
    "authentication.k8s.io/v1alpha1": "SelfSubjectReview",
    "authentication.k8s.io/v1beta1": "SelfSubjectReview",
    "authorization.k8s.io/v1": "LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview"
    " SubjectAccessReview",
    "autoscaling/v1": "HorizontalPodAutoscaler Scale",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "batch/v1": "CronJob Job",
    "certificates.k8s.io/v1": "CertificateSigningRequest ClusterTrustBundle PodCertificateRequest",
    "certificates.k8s.io/v1alpha1": "ClusterTrustBundle PodCertificateRequest",
    "certificates.k8s.io/v1beta1": "ClusterTrustBundle PodCertificateRequest",
    "coordination.k8s.io/v1": "Lease",
    "coordination.k8s.io/v1alpha1": "LeaseCandidate",
    "coordination.k8s.io/v1alpha2": "LeaseCandidate",
    "coordination.k8s.io/v1beta1": "LeaseCandidate",
    "discovery.k8s.io/v1": "EndpointSlice",
    "events.k8s.io/v1": "Event",
    "flowcontrol.apiserver.k8s.io/v1": "FlowSchema PriorityLevelConfiguration",
    "flowcontrol.apiserver.k8s.io/v1beta3": "FlowSchema PriorityLevelConfiguration",
    "internal.apiserver.k8s.io/v1alpha1": "StorageVersion",
    "lifecycle.k8s.io/v1alpha1": "Eviction EvictionRequest",
    "networking.k8s.io/v1": "IPAddress Ingress IngressClass NetworkPolicy ServiceCIDR",
    "networking.k8s.io/v1alpha1": "IPAddress ServiceCIDR",
    "networking.k8s.io/v1beta1": "IPAddress ServiceCIDR",
    "node.k8s.io/v1": "RuntimeClass",
    "policy/v1": "Eviction PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
    "resource.k8s.io/v1": "DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice",
    "resource.k8s.io/v1alpha2": "PodSchedulingContext ResourceClaim ResourceClaimParameters ResourceClaimTemplate"
    " ResourceClass ResourceClassParameters ResourceSlice",
    "resource.k8s.io/v1alpha3": "DeviceClass DeviceTaintRule PodSchedulingContext ResourceClaim ResourceClaimTemplate"
    " ResourcePoolStatusRequest ResourceSlice",
    "resource.k8s.io/v1beta1": "DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice",
    "resource.k8s.io/v1beta2": "DeviceClass DeviceTaintRule ResourceClaim ResourceClaimTemplate ResourceSlice",
    "scheduling.k8s.io/v1": "PriorityClass",
    "scheduling.k8s.io/v1alpha1": "Workload",
    "scheduling.k8s.io/v1alpha2": "PodGroup Workload",
    "scheduling.k8s.io/v1alpha3": "CompositePodGroup PodGroup Workload",
    "scheduling.k8s.io/v1beta1": "PodGroup Workload",
    "storage.k8s.io/v1": "CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass",
    "storage.k8s.io/v1alpha1": "VolumeAttributesClass",
    "storage.k8s.io/v1beta1": "VolumeAttributesClass",
    "storagemigration.k8s.io/v1": "StorageVersionMigration",
    "storagemigration.k8s.io/v1alpha1": "StorageVersionMigration",
    "storagemigration.k8s.io/v1beta1": "StorageVersionMigration",
}
FORMER: Final = (  # the last release that served them
    ("1.15", "extensions/v1beta1", "DaemonSet Deployment NetworkPolicy PodSecurityPolicy ReplicaSet"),
    ("1.15", "apps/v1beta1", "Deployment StatefulSet"),
    ("1.15", "apps/v1beta2", "DaemonSet Deployment ReplicaSet StatefulSet"),
    ("1.21", "admissionregistration.k8s.io/v1beta1", "MutatingWebhookConfiguration ValidatingWebhookConfiguration"),
    ("1.21", "apiextensions.k8s.io/v1beta1", "CustomResourceDefinition"),
    ("1.21", "apiregistration.k8s.io/v1beta1", "APIService"),
    ("1.21", "certificates.k8s.io/v1beta1", "CertificateSigningRequest"),
    ("1.21", "coordination.k8s.io/v1beta1", "Lease"),
    ("1.21", "networking.k8s.io/v1beta1", "Ingress IngressClass"),
    ("1.21", "rbac.authorization.k8s.io/v1beta1", "ClusterRole ClusterRoleBinding Role RoleBinding"),
    ("1.21", "scheduling.k8s.io/v1beta1", "PriorityClass"),
    ("1.21", "storage.k8s.io/v1beta1", "CSIDriver CSINode StorageClass VolumeAttachment"),
    ("1.21", "extensions/v1beta1", "Ingress"),
    ("1.24", "autoscaling/v2beta1", "HorizontalPodAutoscaler"),
    ("1.24", "batch/v1beta1", "CronJob"),
    ("1.24", "discovery.k8s.io/v1beta1", "EndpointSlice"),
    ("1.24", "events.k8s.io/v1beta1", "Event"),
    ("1.24", "node.k8s.io/v1beta1", "RuntimeClass"),
    ("1.24", "policy/v1beta1", "PodDisruptionBudget PodSecurityPolicy"),
    ("1.25", "autoscaling/v2beta2", "HorizontalPodAutoscaler"),
    ("1.25", "flowcontrol.apiserver.k8s.io/v1beta1", "FlowSchema PriorityLevelConfiguration"),
    ("1.28", "flowcontrol.apiserver.k8s.io/v1beta2", "FlowSchema PriorityLevelConfiguration"),
)
OPERATORS: Final[Mapping[str, str]] = {
    "serving.kserve.io/v1beta1": "InferenceService",
    "serving.kserve.io/v1alpha1": "ServingRuntime ClusterServingRuntime ClusterStorageContainer InferenceGraph"
    " LLMInferenceService LLMInferenceServiceConfig LocalModelCache LocalModelNode LocalModelNodeGroup TrainedModel",
    "serving.kserve.io/v1alpha2": "LLMInferenceService LLMInferenceServiceConfig",
    "serving.knative.dev/v1": "Configuration Revision Route Service",
    "gateway.networking.k8s.io/v1": "BackendTLSPolicy GRPCRoute Gateway GatewayClass HTTPRoute",
    "gateway.networking.k8s.io/v1beta1": "Gateway GatewayClass HTTPRoute ReferenceGrant",
    "gateway.networking.k8s.io/v1alpha2": "TCPRoute TLSRoute UDPRoute",
    "inference.networking.k8s.io/v1": "InferencePool",
    "inference.networking.x-k8s.io/v1alpha2": "InferenceModel InferenceObjective InferencePool",
    "gateway.envoyproxy.io/v1alpha1": "Backend BackendTrafficPolicy ClientTrafficPolicy EnvoyExtensionPolicy"
    " EnvoyPatchPolicy EnvoyProxy HTTPRouteFilter SecurityPolicy",
    "networking.istio.io/v1": "DestinationRule Gateway ServiceEntry Sidecar VirtualService WorkloadEntry WorkloadGroup",
    "networking.istio.io/v1beta1": "DestinationRule Gateway ServiceEntry Sidecar VirtualService WorkloadEntry"
    " WorkloadGroup",
    "networking.istio.io/v1alpha3": "DestinationRule EnvoyFilter Gateway ServiceEntry Sidecar VirtualService",
    "security.istio.io/v1": "AuthorizationPolicy PeerAuthentication RequestAuthentication",
    "security.istio.io/v1beta1": "AuthorizationPolicy PeerAuthentication RequestAuthentication",
    "monitoring.coreos.com/v1": "Alertmanager PodMonitor Probe Prometheus PrometheusRule ServiceMonitor ThanosRuler",
    "monitoring.coreos.com/v1alpha1": "AlertmanagerConfig PrometheusAgent ScrapeConfig",
    "monitoring.coreos.com/v1beta1": "AlertmanagerConfig",
    "keda.sh/v1alpha1": "ClusterTriggerAuthentication ScaledJob ScaledObject TriggerAuthentication",
    "batch.volcano.sh/v1alpha1": "Job",
    "flow.volcano.sh/v1alpha1": "JobFlow JobTemplate",
    "scheduling.volcano.sh/v1beta1": "PodGroup Queue",
    "topology.volcano.sh/v1alpha1": "HyperNode",
    "kueue.x-k8s.io/v1beta1": "AdmissionCheck ClusterQueue LocalQueue MultiKueueCluster MultiKueueConfig"
    " ProvisioningRequestConfig ResourceFlavor Workload WorkloadPriorityClass",
    "kueue.x-k8s.io/v1beta2": "AdmissionCheck ClusterQueue Cohort LocalQueue MultiKueueCluster MultiKueueConfig"
    " ProvisioningRequestConfig ResourceFlavor Topology Workload WorkloadPriorityClass",
    "jobset.x-k8s.io/v1alpha2": "JobSet",
    "leaderworkerset.x-k8s.io/v1": "LeaderWorkerSet",
    "trainer.kubeflow.org/v1alpha1": "ClusterTrainingRuntime TrainJob TrainingRuntime",
    "kubeflow.org/v1": "JAXJob MPIJob PaddleJob PyTorchJob TFJob XGBoostJob",
    "kubeflow.org/v2beta1": "MPIJob",
    "ray.io/v1": "RayCluster RayJob RayService",
    "ray.io/v1alpha1": "RayCluster RayJob RayService",
    "nvidia.com/v1": "ClusterPolicy",
    "nvidia.com/v1alpha1": "NVIDIADriver",
    "resource.nvidia.com/v1beta1": "ComputeDomain",
    "nfd.k8s-sigs.io/v1alpha1": "NodeFeature NodeFeatureGroup NodeFeatureRule",
    "cert-manager.io/v1": "Certificate CertificateRequest ClusterIssuer Issuer",
    "external-secrets.io/v1": "ClusterExternalSecret ClusterSecretStore ExternalSecret SecretStore",
    "external-secrets.io/v1beta1": "ClusterExternalSecret ClusterSecretStore ExternalSecret SecretStore",
    "bitnami.com/v1alpha1": "SealedSecret",
    "autoscaling.k8s.io/v1": "VerticalPodAutoscaler",
    "snapshot.storage.k8s.io/v1": "VolumeSnapshot VolumeSnapshotClass VolumeSnapshotContent",
    "cilium.io/v2": "CiliumClusterwideNetworkPolicy CiliumNetworkPolicy",
    "projectcalico.org/v3": "GlobalNetworkPolicy NetworkPolicy",
    "crd.projectcalico.org/v1": "GlobalNetworkPolicy NetworkPolicy",
    "argoproj.io/v1alpha1": "AppProject Application ApplicationSet Rollout Workflow WorkflowTemplate",
    "route.openshift.io/v1": "Route",
}
VERSION: Final = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
STAGES: Final = ("alpha", "beta", None)


@cache
def versions() -> Mapping[tuple[str, str], tuple[str, ...]]:
    """The versions of each group and kind, the best first."""
    found: dict[tuple[str, str], list[str]] = {}
    for table in (OWN, OPERATORS):
        for api, kinds in table.items():
            group, _, version = api.rpartition("/")
            for kind in kinds.split():
                found.setdefault((group, kind), []).append(version)
    return {key: tuple(by_worth(each)) for key, each in found.items()}


def by_worth(names: list[str]) -> Iterator[str]:
    """Versions as Kubernetes ranks them: `v2`, `v1`, `v1beta1`, `v1alpha1`."""

    def rank(name: str) -> tuple[int, int, int]:
        said = VERSION.fullmatch(name)
        return (STAGES.index(said[2]), int(said[1]), int(said[3] or 0)) if said else (-1, 0, 0)

    yield from sorted(names, key=rank, reverse=True)


@cache
def own_groups() -> frozenset[str]:
    """The groups of the API server itself; others under k8s.io come with CustomResourceDefinitions."""
    return frozenset(api.rpartition("/")[0] for api in (*OWN, *(each[1] for each in FORMER)))


@cache
def groups() -> frozenset[str]:
    """All groups in the table."""
    return frozenset(group for group, _ in versions()) | own_groups()


def last_served(api_version: str, kind: str) -> str:
    """The last release of Kubernetes that served it, or the empty string for what it serves, or never did."""
    return next((last for last, api, kinds in FORMER if api == api_version and kind in kinds.split()), "")
