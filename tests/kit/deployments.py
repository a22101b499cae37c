"""Deployments as the reconciler reads them."""

import json

from orchestrator.k8s.types import ACTION_ANNOTATION, WorkloadKey, WorkloadObject


def document(replicas: int) -> str:
    """What actions may change of a Deployment: here, only its replicas."""
    return json.dumps({"spec": {"replicas": replicas}})


def live(uid: str = "u1", version: str = "7", generation: int = 3, action: str = "") -> WorkloadObject:
    """`action` is the id in the annotation of SmartOps; empty if there is none."""
    return WorkloadObject(
        key=WorkloadKey("smartops-dev", "erp-simulator"),
        uid=uid,
        resource_version=version,
        generation=generation,
        replicas=2,
        paused=False,
        deleting=False,
        annotations={ACTION_ANNOTATION: action} if action else {},
        document=document(2),
    )
