"""Which workloads are SmartOps' own: what the chart writes to them, and the pod that this process runs in.

The labels of the chart are read from the object, from its pod template, and from its selector, which nobody can change.
Another component, such as the policy engine, is protected by the label `app.kubernetes.io/part-of: smartops`.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from socket import gethostname

from orchestrator.k8s.types import WorkloadKey

OWN_LABELS = {"app.kubernetes.io/name": "smartops-orchestrator", "app.kubernetes.io/part-of": "smartops"}
OWN_ACCOUNT = "smartops-orchestrator"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def own_mark(labelled: Iterable[Mapping[str, str]], account: str) -> str:
    """By what a workload with these labels and this ServiceAccount is recognized as SmartOps' own, or ""."""
    for labels in labelled:
        for name, value in OWN_LABELS.items():
            if labels.get(name) == value:
                return f"the label {name}={value}"
    return f"the ServiceAccount {account}" if account == OWN_ACCOUNT else ""


@cache
def own_deployment() -> WorkloadKey | None:
    """The Deployment that this process runs in, by the name of its pod and the namespace of its ServiceAccount. None
    if it has no ServiceAccount."""
    try:
        namespace = NAMESPACE_FILE.read_text().strip()
    except OSError:
        return None
    deployment, *generated = gethostname().rsplit("-", 2)  # the ReplicaSet's hash, and the pod's suffix
    return WorkloadKey(namespace, deployment) if len(generated) == 2 else None
