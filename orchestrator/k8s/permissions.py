"""The permissions that the reconciler uses in each of its namespaces. docs/operations.md has them as a Role."""

from dataclasses import dataclass
from typing import Any

from orchestrator.k8s.parse import parse_object


@dataclass(frozen=True, slots=True)
class Permission:
    """`resource` is written as in a Role, with its subresource. `purpose` is a sentence in which "it" is the
    permission. The loop works without a permission that is not `required`."""

    group: str  # "" is the core group
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    required: bool = True

    @property
    def group_resource(self) -> str:
        """As kubectl and the API server write it: "deployments.apps"."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


PERMISSIONS = (
    Permission("apps", "deployments", ("list", "watch"), "SmartOps fills its cache with it"),
    Permission("apps", "deployments", ("get",), "SmartOps reads the live Deployment with it"),
    Permission("apps", "deployments", ("patch",), "SmartOps applies changes with it"),
    Permission(
        "autoscaling",
        "horizontalpodautoscalers",
        ("list", "watch"),
        "SmartOps finds out with it which replicas an autoscaler sets",
    ),
    *(
        Permission("apps", resource, verbs, f"SmartOps {use} with it", required=False)
        for resource, kind in (("statefulsets", "StatefulSet"), ("daemonsets", "DaemonSet"))
        for verbs, use in (
            (("list", "watch"), f"fills its cache of {kind}s"),
            (("get",), f"reads the live {kind}"),
            (("patch",), f"changes {kind}s"),
        )
    ),
    Permission("", "pods", ("list",), "SmartOps reports with it why a pod does not run", required=False),
    Permission("", "pods", ("get",), "SmartOps finds with it the workload of a pod", required=False),
    Permission("apps", "replicasets", ("get",), "SmartOps finds the Deployment of such a pod with it", required=False),
    Permission("", "services", ("get",), "SmartOps finds the pods of a Service with it", required=False),
    Permission("", "events", ("create",), "SmartOps publishes Kubernetes Events with it", required=False),
)


def parse_review(raw: Any) -> bool:
    """Whether a SelfSubjectAccessReview allows the request. ValueError if the object is not a review."""
    allowed = parse_object(parse_object(raw).get("status")).get("allowed")
    if not isinstance(allowed, bool):
        raise ValueError(f"status.allowed is not of type bool: {str(allowed)[:100]}")
    return allowed
