"""What the reconciler may have to do in each of its namespaces, and why. docs/operations.md has them as a Role."""

from dataclasses import dataclass
from typing import Any

from orchestrator.k8s.parse import parse_object


@dataclass(frozen=True, slots=True)
class Permission:
    """`resource` is written as in a Role, with its subresource. Without an `essential` one the loop cannot work."""

    group: str  # "" is the core group
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    essential: bool = True

    @property
    def qualified(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


PERMISSIONS = (
    Permission("apps", "deployments", ("list", "watch"), "to see the workloads"),
    Permission("apps", "deployments", ("get",), "to look before each write, and before a failure is recorded"),
    Permission("apps", "deployments", ("patch",), "to apply changes"),
    Permission(
        "autoscaling", "horizontalpodautoscalers", ("list", "watch"), "to see whose replicas an autoscaler owns"
    ),
    Permission("", "events", ("create",), "to tell on the workload what was done, and why not", essential=False),
)


def parse_review(raw: Any) -> bool:
    """The answer of a SelfSubjectAccessReview; ValueError for anything that is none."""
    allowed = parse_object(parse_object(raw).get("status")).get("allowed")
    if not isinstance(allowed, bool):
        raise ValueError(f"status.allowed is not of type bool: {str(allowed)[:100]}")
    return allowed
