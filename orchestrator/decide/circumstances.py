"""What is known around an action that waits for an approval, with why its risk is high: for the page of the approval,
and for the approval itself, which asks again (orchestrator/acts/vote.py)."""

from dataclasses import dataclass
from datetime import datetime

from guardrails.replay import load_inputs
from guardrails.risk import PlannedChange, Risk, risks
from guardrails.types import TargetFacts
from orchestrator.decide.history import Wanted, WorkloadHistory, load_history
from orchestrator.models import Action, DecisionRecord
from signals.proposals import changes_template, desired_replicas


@dataclass(frozen=True, slots=True)
class Circumstances:
    """`target`: as a reconciler had it for the last decision on the action. `replicas`: the number that the action
    leads to; None if it leaves it alone. `risks`: empty if the risk is not high."""

    history: WorkloadHistory
    target: TargetFacts | None
    replicas: int | None
    risks: tuple[Risk, ...]


def circumstances(action: Action, now: datetime) -> Circumstances:
    """Two queries."""
    proposal = action.proposal
    wanted = Wanted(proposal.target, action.workload_id, proposal.type, action.params, own=action.pk)
    [history] = load_history([wanted])
    target, before = _target(action), (action.before or {}).get("replicas")
    replicas = desired_replicas(proposal, before)
    change = PlannedChange(before, replicas, changes_template(proposal.type, proposal.params))
    return Circumstances(history, target, replicas, risks(target, change, history.failed, now))


def _target(action: Action) -> TargetFacts | None:
    last = DecisionRecord.objects.filter(action=action).order_by("-pk").first()
    return None if last is None else load_inputs(last.inputs).facts.target
