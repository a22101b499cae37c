"""The workloads of the demo: a small ERP. An annotation tells the sandbox how long a pod takes to become ready."""

from typing import Any

NAMESPACE = "smartops-dev"
HERO = "erp-simulator"

# name → replicas, and how long a pod takes to become ready
WORKLOADS = {
    HERO: (2, "800ms"),
    "checkout": (3, "500ms"),
    "inventory": (2, "1200ms"),
    "invoice-worker": (1, "2s"),
    "payments": (2, "1500ms"),
    "reporting": (1, "3s"),
}


def manifests() -> list[dict[str, Any]]:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    return [namespace, *(_deployment(name, *behaviour) for name, behaviour in WORKLOADS.items())]


def _deployment(name: str, replicas: int, ready_after: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "erp"}
    container = {
        "name": name,
        "image": "nginx:1.29-alpine",
        "ports": [{"containerPort": 80}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": {"sim/ready-after": ready_after}},
                "spec": {"containers": [container]},
            },
        },
    }
