"""The workloads of the demo: a small ERP. An annotation tells the sandbox how long a pod takes to become ready."""

from typing import Any

from signals.types import Kind

NAMESPACE = "smartops-dev"
HERO = "erp-simulator"

# name → kind, replicas, and how long a pod takes to become ready
WORKLOADS = {
    HERO: (Kind.DEPLOYMENT, 2, "800ms"),
    "checkout": (Kind.DEPLOYMENT, 3, "500ms"),
    "inventory": (Kind.DEPLOYMENT, 2, "1200ms"),
    "invoice-worker": (Kind.DEPLOYMENT, 1, "2s"),
    "payments": (Kind.DEPLOYMENT, 2, "1500ms"),
    "reporting": (Kind.DEPLOYMENT, 1, "3s"),
    "ledger": (Kind.STATEFUL_SET, 2, "1s"),
    "log-agent": (Kind.DAEMON_SET, None, "500ms"),
}


def manifests() -> list[dict[str, Any]]:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    return [namespace, *(_workload(name, *behaviour) for name, behaviour in WORKLOADS.items())]


def _workload(name: str, kind: Kind, replicas: int | None, ready_after: str) -> dict[str, Any]:
    """A DaemonSet has no replicas."""
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "erp"}
    container = {
        "name": name,
        "image": "nginx:1.29-alpine",
        "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    of_kind: dict[str, Any] = {} if replicas is None else {"replicas": replicas}
    if kind is Kind.STATEFUL_SET:
        of_kind |= {"serviceName": name}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            **of_kind,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"sim/ready-after": ready_after}},
                "spec": {"containers": [container]},
            },
        },
    }
