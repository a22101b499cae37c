"""What is known of a target in its cluster."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from guardrails.types import AutoscalerFacts, TargetFacts
from orchestrator.k8s.fields import overlapping
from orchestrator.k8s.types import Deployment
from signals.types import Target


@dataclass(frozen=True, slots=True)
class TargetState:
    """A target as the deciding process observes it. The web process observes nothing: UNOBSERVED."""

    seen: bool
    managed: bool = True
    deployment: Deployment | None = None
    autoscaler: AutoscalerFacts | None = None
    autoscalers_unknown: str = ""  # why it is not known whether there is one

    def facts(self, changed: Iterable[str] = ()) -> TargetFacts | None:
        """The facts that concern a change of the fields `changed`: a Deployment may have a hundred fields with an
        owner. None if there is no Deployment."""
        live, changed = self.deployment, tuple(changed)
        if live is None:
            return None
        concerned = ((owner, overlapping(owner.fields, changed)) for owner in live.owners)
        return TargetFacts(
            uid=live.uid,
            replicas=live.replicas,
            deleting=live.deleting,
            paused=live.paused,
            autoscaler=self.autoscaler,
            autoscalers_unknown=self.autoscalers_unknown,
            owners=tuple(replace(owner, fields=fields) for owner, fields in concerned if fields),
        )


UNOBSERVED = TargetState(seen=False)
UNMANAGED = TargetState(seen=True, managed=False)
Observe = Callable[[Target], TargetState]
