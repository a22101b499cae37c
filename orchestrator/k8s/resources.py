"""The resources of the Kubernetes API that SmartOps uses, and their paths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.k8s.errors import Invalid
from signals.types import Kind

OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Resource:
    """`group` is "" for the core group; `name` is the plural, as in paths and in Roles."""

    group: str
    version: str
    name: str

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """Without a namespace, the path spans all namespaces; without a name, it is the collection's. Invalid for a
        name that is empty or not a name: it would address another object, or the collection: DELETE .../pods/ deletes
        all of them."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace is not None:
            parts += ["namespaces", _segment(namespace)]
        parts.append(self.name)
        if name is not None:
            parts.append(_segment(name))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


PODS = Resource("", "v1", "pods")
SERVICES = Resource("", "v1", "services")
EVENTS = Resource("", "v1", "events")
REPLICA_SETS = Resource("apps", "v1", "replicasets")
CONTROLLED: Mapping[str, Resource] = {"Pod": PODS, "ReplicaSet": REPLICA_SETS}  # whose controllers are read
DEPLOYMENTS = Resource("apps", "v1", "deployments")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets")
DAEMON_SETS = Resource("apps", "v1", "daemonsets")
WORKLOADS: Mapping[Kind, Resource] = {
    Kind.DEPLOYMENT: DEPLOYMENTS,
    Kind.STATEFUL_SET: STATEFUL_SETS,
    Kind.DAEMON_SET: DAEMON_SETS,
}
SCALED_KINDS = frozenset({Kind.DEPLOYMENT, Kind.STATEFUL_SET})  # a HorizontalPodAutoscaler may scale them
AUTOSCALERS = Resource("autoscaling", "v2", "horizontalpodautoscalers")
ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews")


def _segment(name: str) -> str:
    if not OBJECT_NAME.fullmatch(name):
        raise Invalid(f"{name!r} is not a valid object name", reason="InvalidName")
    return name
