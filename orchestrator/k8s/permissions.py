"""The permissions that the reconciler needs in each namespace. docs/operations.md has them as a Role."""

from dataclasses import dataclass
from typing import Any

from orchestrator.k8s.parse import parse_object


@dataclass(frozen=True, slots=True)
class Permission:
    """`resource` is written as in a Role, with its subresource. The loop cannot work without an `essential` one."""

    group: str  # "" is the core group
    resource: str
    verbs: tuple[str, ...]
    purpose: str
    essential: bool = True

    @property
    def qualified(self) -> str:
        return f"{self.resource}.{self.group}" if self.group else self.resource


PERMISSIONS = (
    Permission("apps", "deployments", ("list", "watch"), "to watch the workloads"),
    Permission("apps", "deployments", ("get",), "to read a workload before a write or a failure"),
    Permission("apps", "deployments", ("patch",), "to apply changes"),
    Permission(
        "autoscaling", "horizontalpodautoscalers", ("list", "watch"), "to see whose replicas an autoscaler owns"
    ),
    Permission("", "events", ("create",), "to publish Events about actions and refusals", essential=False),
)


def parse_review(raw: Any) -> bool:
    """`status.allowed` of a SelfSubjectAccessReview; ValueError if it is missing."""
    allowed = parse_object(parse_object(raw).get("status")).get("allowed")
    if not isinstance(allowed, bool):
        raise ValueError(f"status.allowed is not of type bool: {str(allowed)[:100]}")
    return allowed
