"""The kinds that the API serves. All are stored; only Deployments, ReplicaSets, StatefulSets, DaemonSets, Pods and
PodDisruptionBudgets have controllers."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One row of discovery. `generation`: a change of spec moves metadata.generation."""

    group: str
    version: str
    name: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    status: bool = False
    scale: bool = False
    generation: bool = False
    all: bool = False  # part of `kubectl get all`
    returned: bool = False  # its deletion answers with the object

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As in messages: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified(self) -> str:
        """As in validation messages: `Deployment.apps`."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def prefix(self) -> bytes:
        """The beginning of the JSON of an object of this kind."""
        return f'{{"kind":"{self.name}","apiVersion":"{self.api_version}",'.encode()

    def describes(self, obj: Mapping[str, object]) -> bool:
        return obj.get("kind") == self.name and obj.get("apiVersion") == self.api_version


NAMESPACE = Kind("", "v1", "Namespace", "namespaces", ("ns",), namespaced=False, status=True)
NODE = Kind("", "v1", "Node", "nodes", ("no",), namespaced=False, status=True)
POD = Kind("", "v1", "Pod", "pods", ("po",), status=True, generation=True, all=True, returned=True)
EVENT = Kind("", "v1", "Event", "events", ("ev",))
SERVICE = Kind("", "v1", "Service", "services", ("svc",), status=True, all=True, returned=True)
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts", ("sa",), returned=True)
DEPLOYMENT = Kind(
    "apps", "v1", "Deployment", "deployments", ("deploy",), status=True, scale=True, generation=True, all=True
)
REPLICA_SET = Kind(
    "apps", "v1", "ReplicaSet", "replicasets", ("rs",), status=True, scale=True, generation=True, all=True
)
STATEFUL_SET = Kind(
    "apps", "v1", "StatefulSet", "statefulsets", ("sts",), status=True, scale=True, generation=True, all=True
)
DAEMON_SET = Kind("apps", "v1", "DaemonSet", "daemonsets", ("ds",), status=True, generation=True, all=True)
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"  # an annotation of DaemonSets
CONTROLLER_REVISION = Kind("apps", "v1", "ControllerRevision", "controllerrevisions")
AUTOSCALER = Kind(
    *("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", ("hpa",)),
    status=True,
    generation=True,
    all=True,
)
DISRUPTION_BUDGET = Kind(
    "policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", ("pdb",), status=True, generation=True
)
ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)

# Kinds of subresources and options, which are not stored.
SCALE = Kind("autoscaling", "v1", "Scale", "scales")
EVICTION = Kind("policy", "v1", "Eviction", "evictions")
DELETE_OPTIONS = Kind("", "v1", "DeleteOptions", "")

KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    NODE,
    POD,
    EVENT,
    SERVICE,
    SERVICE_ACCOUNT,
    Kind("", "v1", "ConfigMap", "configmaps", ("cm",)),
    Kind("", "v1", "Secret", "secrets"),
    Kind("", "v1", "Endpoints", "endpoints", ("ep",)),
    Kind("", "v1", "PersistentVolume", "persistentvolumes", ("pv",), namespaced=False, status=True),
    Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", ("pvc",), status=True, returned=True),
    Kind("", "v1", "ResourceQuota", "resourcequotas", ("quota",), status=True, returned=True),
    Kind("", "v1", "LimitRange", "limitranges", ("limits",)),
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    DAEMON_SET,
    CONTROLLER_REVISION,
    Kind("batch", "v1", "Job", "jobs", status=True, generation=True, all=True),
    Kind("batch", "v1", "CronJob", "cronjobs", ("cj",), status=True, generation=True, all=True),
    AUTOSCALER,
    DISRUPTION_BUDGET,
    Kind("networking.k8s.io", "v1", "Ingress", "ingresses", ("ing",), status=True, generation=True),
    Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", ("netpol",), generation=True),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False),
    Kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    Kind("coordination.k8s.io", "v1", "Lease", "leases"),
    Kind("storage.k8s.io", "v1", "StorageClass", "storageclasses", ("sc",), namespaced=False),
    Kind("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", ("pc",), namespaced=False),
    ACCESS_REVIEW,
)

BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
BY_NAME = {(kind.api_version, kind.name): kind for kind in KINDS}
GROUP_VERSIONS = tuple(dict.fromkeys((kind.group, kind.version) for kind in KINDS))
