"""The state of a target in its cluster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from guardrails.types import AutoscalerFacts, TargetFacts
from orchestrator.k8s.fields import overlapping
from orchestrator.k8s.revision import latest_rollout
from orchestrator.k8s.rollout import obstacle_of
from orchestrator.k8s.types import Deployment
from signals.proposals.paths import CONTAINERS
from signals.types import Target


@dataclass(frozen=True, slots=True)
class TargetState:
    """The state that a decision is based on. The web process has no access to a cluster: UNOBSERVED. `missing`: the
    API server itself has said, a few seconds ago at most, that there is no Deployment."""

    seen: bool
    managed: bool = True
    deployment: Deployment | None = None
    autoscaler: AutoscalerFacts | None = None
    autoscalers_unknown: str = ""  # why autoscalers cannot be listed; "": they are known
    unreadable: str = ""  # why it is not known whether there is such a Deployment; "": it is
    missing: bool = False

    def facts(self, changed: Iterable[str] = ()) -> TargetFacts | None:
        """The facts for a change of the fields `changed`. Of the owners, only those of changed fields are included: a
        Deployment may have a hundred owned fields. None if there is no Deployment."""
        deployment, changed = self.deployment, tuple(changed)
        if deployment is None:
            return None
        overlaps = ((owner, overlapping(owner.fields, changed)) for owner in deployment.owners)
        return TargetFacts(
            uid=deployment.uid,
            replicas=deployment.replicas,
            available=deployment.available_replicas,
            obstacle=obstacle.message if (obstacle := obstacle_of(deployment)) else "",
            deleting=deployment.deleting,
            paused=deployment.paused,
            autoscaler=self.autoscaler,
            autoscalers_unknown=self.autoscalers_unknown,
            owners=tuple(replace(owner, fields=fields) for owner, fields in overlaps if fields),
            part_of_smartops=deployment.part_of_smartops,
            containers=(any(path.startswith(CONTAINERS) for path in changed) and deployment.containers) or None,
            rollout=latest_rollout(deployment),
        )


UNOBSERVED = TargetState(seen=False)
UNMANAGED = TargetState(seen=True, managed=False)
Observe = Callable[[Target], TargetState]
