"""The state of a target in its cluster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from guardrails.types import AutoscalerFacts, TargetFacts
from orchestrator.k8s.fields import overlapping
from orchestrator.k8s.revision import held, latest_rollout
from orchestrator.k8s.rollout import is_uncounted, obstacle_of
from orchestrator.k8s.types import WorkloadObject
from signals.proposals.paths import CONTAINERS
from signals.types import Kind, Target


@dataclass(frozen=True, slots=True)
class TargetState:
    """The state that a decision is based on. The web process has no access to a cluster: UNOBSERVED. `missing`: the
    API server itself has said, a few seconds ago at most, that there is no such workload."""

    seen: bool
    managed: bool = True
    object: WorkloadObject | None = None
    autoscaler: AutoscalerFacts | None = None
    autoscalers_unknown: str = ""  # why autoscalers cannot be listed; "": they are known
    unreadable: str = ""  # why it is not known whether there is such a workload; "": it is
    missing: bool = False
    namesakes: tuple[Kind, ...] = ()  # where the cache has no such workload: the kinds of those that have its name

    def facts(self, changed: Iterable[str] = ()) -> TargetFacts | None:
        """The facts for a change of the fields `changed`. Of the owners, only those of changed fields are included: a
        workload may have a hundred owned fields. None if there is no workload."""
        workload, changed = self.object, tuple(changed)
        if workload is None:
            return None
        overlaps = ((owner, overlapping(owner.fields, changed)) for owner in workload.owners)
        return TargetFacts(
            uid=workload.uid,
            replicas=workload.replicas,
            available=workload.available_replicas,
            uncounted=is_uncounted(workload),
            obstacle=obstacle.message if (obstacle := obstacle_of(workload)) else "",
            deleting=workload.deleting,
            paused=workload.paused,
            held=held(workload),
            autoscaler=self.autoscaler,
            autoscalers_unknown=self.autoscalers_unknown,
            owners=tuple(replace(owner, fields=fields) for owner, fields in overlaps if fields),
            part_of_smartops=workload.part_of_smartops,
            containers=(any(path.startswith(CONTAINERS) for path in changed) and workload.containers) or None,
            rollout=latest_rollout(workload),
        )


UNOBSERVED = TargetState(seen=False)
UNMANAGED = TargetState(seen=True, managed=False)
ObserveTarget = Callable[[Target], TargetState]
