"""States of a rollout, what `kubectl rollout status` says of each, and our verdict."""

from dataclasses import dataclass
from typing import Any

from orchestrator.k8s.rollout import Complete, Failed, Progress, Progressing
from signals.types import Kind
from tests.kit import manifests

DONE = 'deployment "web" successfully rolled out'
UNOBSERVED = "Waiting for deployment spec update to be observed..."
EXCEEDED = 'error: deployment "web" exceeded its progress deadline'
NO_VERDICT = "error: rollout status is only available for RollingUpdate strategy type"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Counts as in the status: `replicas` of a DaemonSet are the pods on nodes that should have one. `exceeded` is the
    condition ProgressDeadlineExceeded of a Deployment. `partition` and `revisions` (the current and the next) are a
    StatefulSet's. `done`: kubectl calls the rollout complete."""

    name: str
    kind: Kind = Kind.DEPLOYMENT
    generation: int
    observed: int
    desired: int
    replicas: int
    updated: int
    available: int
    ready: int | None = None  # as many as are available
    exceeded: bool = False
    strategy: str = "RollingUpdate"
    partition: int | None = None
    revisions: tuple[str, str] = ("web-1", "web-1")
    kubectl: str
    done: bool
    verdict: type[Progress]

    @property
    def manifest(self) -> dict[str, Any]:
        """The object with its status, as an API server would have it."""
        metadata = {"name": "web", "namespace": "default", "uid": "uid-1", "generation": self.generation}
        spec = manifests.deployment("web", self.desired)["spec"]
        if self.kind is not Kind.DEPLOYMENT:
            rolling = {} if self.partition is None else {"rollingUpdate": {"partition": self.partition}}
            spec["updateStrategy"] = {"type": self.strategy, **rolling}
        if self.kind is Kind.DAEMON_SET:
            del spec["replicas"]
        return {"metadata": metadata, "spec": spec, "status": {"observedGeneration": self.observed, **self._counts}}

    @property
    def _counts(self) -> dict[str, Any]:
        ready = self.available if self.ready is None else self.ready
        if self.kind is Kind.DAEMON_SET:
            return {
                "desiredNumberScheduled": self.desired,
                "currentNumberScheduled": self.replicas,
                "updatedNumberScheduled": self.updated,
                "numberReady": ready,
                "numberAvailable": self.available,
            }
        exceeded = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
        current, following = self.revisions
        return {
            "replicas": self.replicas,
            "updatedReplicas": self.updated,
            "readyReplicas": ready,
            "availableReplicas": self.available,
            "conditions": [exceeded] if self.exceeded else [],
            **({"currentRevision": current, "updateRevision": following} if self.kind is Kind.STATEFUL_SET else {}),
            "currentReplicas": self.replicas if current == following else self.replicas - self.updated,
        }


def waiting(what: str, whose: str = "deployment") -> str:
    return f'Waiting for {whose} "web" rollout to finish: {what}...'


def partitioned(new: int) -> str:
    return f"partitioned roll out complete: {new} new pods have been updated..."


ROWS = (
    Row(
        name="nothing is updated yet",
        generation=0, observed=1, desired=1, replicas=1, updated=0, available=1,
        kubectl=waiting("0 out of 1 new replicas have been updated"), done=False, verdict=Progressing,
    ),
    Row(
        name="an old replica is left",
        generation=1, observed=1, desired=1, replicas=2, updated=1, available=2,
        kubectl=waiting("1 old replicas are pending termination"), done=False, verdict=Progressing,
    ),
    Row(
        name="one is not available",
        generation=1, observed=1, desired=2, replicas=2, updated=2, available=1,
        kubectl=waiting("1 of 2 updated replicas are available"), done=False, verdict=Progressing,
    ),
    Row(
        name="all are updated and available",
        generation=1, observed=1, desired=2, replicas=2, updated=2, available=2,
        kubectl=DONE, done=True, verdict=Complete,
    ),
    Row(
        name="the controller has not seen the change",
        generation=2, observed=1, desired=2, replicas=2, updated=2, available=2,
        kubectl=UNOBSERVED, done=False, verdict=Progressing,
    ),
    Row(
        name="the deadline is exceeded",
        generation=1, observed=1, desired=2, replicas=3, updated=1, available=2, exceeded=True,
        kubectl=EXCEEDED, done=False, verdict=Failed,
    ),
    Row(
        name="the deadline is exceeded, and yet all is well",
        generation=1, observed=1, desired=2, replicas=2, updated=2, available=2, exceeded=True,
        kubectl=EXCEEDED, done=False, verdict=Failed,
    ),
    Row(
        name="the deadline of an older generation",
        generation=2, observed=1, desired=2, replicas=2, updated=2, available=2, exceeded=True,
        kubectl=UNOBSERVED, done=False, verdict=Progressing,
    ),
    Row(
        name="scaled to zero",
        generation=3, observed=3, desired=0, replicas=0, updated=0, available=0,
        kubectl=DONE, done=True, verdict=Complete,
    ),
    Row(  # we are stricter: it is done once the smaller size has arrived in the pods
        name="a smaller size is observed and not reached",
        generation=1, observed=1, desired=2, replicas=5, updated=5, available=5,
        kubectl=DONE, done=True, verdict=Progressing,
    ),
    Row(
        name="a StatefulSet whose controller has not seen the change", kind=Kind.STATEFUL_SET,
        generation=2, observed=1, desired=3, replicas=3, updated=0, available=3,
        kubectl="Waiting for statefulset spec update to be observed...", done=False, verdict=Progressing,
    ),
    Row(
        name="a StatefulSet with a pod that is not ready", kind=Kind.STATEFUL_SET,
        generation=1, observed=2, desired=3, replicas=3, updated=0, available=2,
        kubectl="Waiting for 1 pods to be ready...", done=False, verdict=Progressing,
    ),
    Row(
        name="all pods above the partition are updated", kind=Kind.STATEFUL_SET, partition=2,
        generation=1, observed=2, desired=3, replicas=3, updated=1, available=3, revisions=("web-1", "web-2"),
        kubectl=partitioned(1), done=True, verdict=Complete,
    ),
    Row(
        name="no pod above the partition is updated", kind=Kind.STATEFUL_SET, partition=2,
        generation=1, observed=2, desired=3, replicas=3, updated=0, available=3, revisions=("web-1", "web-2"),
        kubectl="Waiting for partitioned roll out to finish: 0 out of 1 new pods have been updated...", done=False,
        verdict=Progressing,
    ),
    Row(
        name="all pods are of the current revision", kind=Kind.STATEFUL_SET,
        generation=1, observed=2, desired=3, replicas=3, updated=3, available=3,
        kubectl="statefulset rolling update complete 3 pods at revision web-1...", done=True, verdict=Complete,
    ),
    Row(
        name="the revisions differ", kind=Kind.STATEFUL_SET,
        generation=1, observed=2, desired=3, replicas=3, updated=3, available=3, revisions=("web-1", "web-2"),
        kubectl="waiting for statefulset rolling update to complete 3 pods at revision web-2...", done=False,
        verdict=Progressing,
    ),
    Row(  # the API server's default: with it, kubectl does not compare the revisions, and we do
        name="the partition is 0 and the revisions differ", kind=Kind.STATEFUL_SET, partition=0,
        generation=1, observed=2, desired=3, replicas=3, updated=3, available=3, revisions=("web-1", "web-2"),
        kubectl=partitioned(3), done=True, verdict=Progressing,
    ),
    Row(
        name="the partition is 0 and the rollout has ended", kind=Kind.STATEFUL_SET, partition=0,
        generation=1, observed=2, desired=3, replicas=3, updated=3, available=3,
        kubectl=partitioned(3), done=True, verdict=Complete,
    ),
    Row(  # kubectl does not know minReadySeconds of a StatefulSet
        name="a StatefulSet with a pod that is ready and not available yet", kind=Kind.STATEFUL_SET, partition=0,
        generation=1, observed=1, desired=3, replicas=3, updated=3, available=2, ready=3,
        kubectl=partitioned(3), done=True, verdict=Progressing,
    ),
    Row(
        name="a StatefulSet that has not reached its smaller size", kind=Kind.STATEFUL_SET, partition=0,
        generation=1, observed=1, desired=2, replicas=3, updated=3, available=3,
        kubectl=partitioned(3), done=True, verdict=Progressing,
    ),
    Row(
        name="a StatefulSet that is scaled to zero", kind=Kind.STATEFUL_SET, partition=0,
        generation=3, observed=3, desired=0, replicas=0, updated=0, available=0,
        kubectl=partitioned(0), done=True, verdict=Complete,
    ),
    Row(
        name="a StatefulSet whose pods somebody has to delete", kind=Kind.STATEFUL_SET, strategy="OnDelete",
        generation=1, observed=1, desired=3, replicas=1, updated=0, available=1,
        kubectl=NO_VERDICT, done=False, verdict=Progressing,
    ),
    Row(  # there is no rollout: all pods are available, of any template
        name="all pods of a StatefulSet that somebody has to delete are available", kind=Kind.STATEFUL_SET,
        strategy="OnDelete", revisions=("web-1", "web-2"),
        generation=1, observed=1, desired=3, replicas=3, updated=0, available=3,
        kubectl=NO_VERDICT, done=False, verdict=Complete,
    ),
    Row(
        name="no pod of a DaemonSet is updated yet", kind=Kind.DAEMON_SET,
        generation=0, observed=1, desired=1, replicas=1, updated=0, available=0,
        kubectl=waiting("0 out of 1 new pods have been updated", "daemon set"), done=False, verdict=Progressing,
    ),
    Row(
        name="a pod of a DaemonSet is not available", kind=Kind.DAEMON_SET,
        generation=1, observed=1, desired=2, replicas=2, updated=2, available=1,
        kubectl=waiting("1 of 2 updated pods are available", "daemon set"), done=False, verdict=Progressing,
    ),
    Row(
        name="all pods of a DaemonSet are updated and available", kind=Kind.DAEMON_SET,
        generation=1, observed=1, desired=2, replicas=2, updated=2, available=2,
        kubectl='daemon set "web" successfully rolled out', done=True, verdict=Complete,
    ),
    Row(
        name="a DaemonSet whose controller has not seen the change", kind=Kind.DAEMON_SET,
        generation=2, observed=1, desired=2, replicas=2, updated=2, available=2,
        kubectl="Waiting for daemon set spec update to be observed...", done=False, verdict=Progressing,
    ),
    Row(
        name="a DaemonSet without a node", kind=Kind.DAEMON_SET,
        generation=1, observed=1, desired=0, replicas=0, updated=0, available=0,
        kubectl='daemon set "web" successfully rolled out', done=True, verdict=Complete,
    ),
    Row(
        name="all pods of a DaemonSet that somebody has to delete are available", kind=Kind.DAEMON_SET,
        strategy="OnDelete", generation=1, observed=1, desired=2, replicas=2, updated=1, available=2,
        kubectl=NO_VERDICT, done=False, verdict=Complete,
    ),
)  # fmt: skip
