"""States of a rollout, what `kubectl rollout status` says of each, and our verdict."""

from dataclasses import dataclass

from orchestrator.k8s.rollout import Complete, Failed, Progress, Progressing

DONE = 'deployment "web" successfully rolled out'
UNOBSERVED = "Waiting for deployment spec update to be observed..."
EXCEEDED = 'error: deployment "web" exceeded its progress deadline'


@dataclass(frozen=True, kw_only=True)
class Row:
    """Counts as in a Deployment's status; `exceeded` is its condition ProgressDeadlineExceeded."""

    name: str
    generation: int
    observed: int
    desired: int
    replicas: int
    updated: int
    available: int
    exceeded: bool = False
    kubectl: str
    verdict: type[Progress]


def waiting(what: str) -> str:
    return f'Waiting for deployment "web" rollout to finish: {what}...'


ROWS = (
    Row(
        name="nothing is updated yet",
        generation=0, observed=1, desired=1, replicas=1, updated=0, available=1,
        kubectl=waiting("0 out of 1 new replicas have been updated"), verdict=Progressing,
    ),
    Row(
        name="an old replica is left",
        generation=1, observed=1, desired=1, replicas=2, updated=1, available=2,
        kubectl=waiting("1 old replicas are pending termination"), verdict=Progressing,
    ),
    Row(
        name="one is not available",
        generation=1, observed=1, desired=2, replicas=2, updated=2, available=1,
        kubectl=waiting("1 of 2 updated replicas are available"), verdict=Progressing,
    ),
    Row(
        name="all are updated and available",
        generation=1, observed=1, desired=2, replicas=2, updated=2, available=2,
        kubectl=DONE, verdict=Complete,
    ),
    Row(
        name="the controller has not seen the change",
        generation=2, observed=1, desired=2, replicas=2, updated=2, available=2,
        kubectl=UNOBSERVED, verdict=Progressing,
    ),
    Row(
        name="the deadline is exceeded",
        generation=1, observed=1, desired=2, replicas=3, updated=1, available=2, exceeded=True,
        kubectl=EXCEEDED, verdict=Failed,
    ),
    Row(
        name="the deadline is exceeded, and yet all is well",
        generation=1, observed=1, desired=2, replicas=2, updated=2, available=2, exceeded=True,
        kubectl=EXCEEDED, verdict=Failed,
    ),
    Row(
        name="the deadline of an older generation",
        generation=2, observed=1, desired=2, replicas=2, updated=2, available=2, exceeded=True,
        kubectl=UNOBSERVED, verdict=Progressing,
    ),
    Row(
        name="scaled to zero",
        generation=3, observed=3, desired=0, replicas=0, updated=0, available=0,
        kubectl=DONE, verdict=Complete,
    ),
    Row(  # we are stricter: it is done once the smaller size has arrived in the pods
        name="a smaller size is observed and not reached",
        generation=1, observed=1, desired=2, replicas=5, updated=5, available=5,
        kubectl=DONE, verdict=Progressing,
    ),
)  # fmt: skip
