"""What follows a decision that does not refuse. Each function has the name of its transition."""

from math import ceil
from typing import Any

from guardrails.types import Allow, Ask, Decision, Limits, Observe, Warned
from orchestrator.actions import HANDLERS
from orchestrator.decide.approval import difference, digest_of_shown, plan_columns, rule_of, shown
from orchestrator.decide.decision import Decided
from orchestrator.k8s.types import WorkloadObject
from orchestrator.models import Action, Verification, VerificationStatus, transitions
from orchestrator.models.transition_store import Asks, Transition
from signals.proposals import scale_decrease, scale_increase
from signals.reasons import Reason


def follow(action: Action, live: WorkloadObject, decided: Decided, actor: str, *, keep: bool = False) -> Transition:
    """What a decision leads to that does not refuse, in its transaction. `keep`: the plan stays as it is."""
    match decided.decision:
        case Allow() as decision:
            return (keep_plan if keep else plan)(action, live, decision, actor)
        case Ask() as decision:
            return ask(action, live, decided, decision, actor)
        case Observe() as decision:
            return observe_only(action, live, decided, decision, actor)
    raise AssertionError("a proposal that is refused has no plan")


def plan(action: Action, live: WorkloadObject, decision: Allow, actor: str) -> Transition:
    proposal = action.proposal
    change = HANDLERS[proposal.type].plan(proposal.params, live, str(action.pk))
    return transitions.plan(
        action,
        live,
        change,
        scale_increase(proposal, live.replicas),
        actor,
        scale_decrease=scale_decrease(proposal, live.replicas),
        warnings=_warnings(decision),
    )


def keep_plan(action: Action, live: WorkloadObject, decision: Allow, actor: str) -> Transition:
    """The same change again. What it is warned of may have changed."""
    return transitions.keep_plan(action, live, actor, warnings=_warnings(decision))


def ask(action: Action, live: WorkloadObject, decided: Decided, why: Ask | None, actor: str) -> Transition:
    """Shows the plan to persons, for the first time or again. Without `why`, only because of what has changed since."""
    plan = plan_columns(action, live, _warnings(decided.decision))
    shows = shown(plan, rule_of(action.requested_by), decided.rule_version, decided.limits)
    changed = difference(action.shown, shows)
    reason = Reason.PLAN_CHANGED if changed or why is None else why.reason
    message = "" if why is None else why.message
    if changed:
        names = ", ".join(one["what"] for one in changed)
        message = f"{message} Since it was shown, this has changed: {names}.".strip()
    details = {**({} if why is None else why.details), "digest": digest_of_shown(shows), "changed": changed}
    seconds = decided.limits.approval_timeout_seconds
    return transitions.ask(action, plan, Asks(shows, digest_of_shown(shows), reason, message, details, seconds), actor)


def observe_only(action: Action, live: WorkloadObject, decided: Decided, decision: Observe, actor: str) -> Transition:
    """Records the plan. The cooldown lasts for as long as the action would have held the workload and its signal."""
    cooldown = max(decided.limits.cooldown_seconds, _hold_seconds(action, decided.limits))
    plan = plan_columns(action, live, _warnings(decision))
    return transitions.observe_only(action, plan, decision.message, decision.details, cooldown, actor)


def _hold_seconds(action: Action, limits: Limits) -> int:
    """How long the last verification of such an action of the workload took; without one, the least that it takes."""
    known = Verification.objects.filter(
        action__in=Action.of_active_months().filter(
            workload=action.workload_id, type=action.type, applied_at__isnull=False
        ),
        status=VerificationStatus.SUCCESS,
    )
    last = known.order_by("-started_at").values_list("started_at", "finished_at").first()
    if last is None or last[1] is None:
        return limits.stabilization_seconds
    return ceil((last[1] - last[0]).total_seconds())


def _warnings(decision: Decision) -> list[dict[str, Any]]:
    return [
        {"guardrail": one.guardrail, "reason": one.reason, "message": one.message, "details": dict(one.details)}
        for one in decision.verdicts
        if isinstance(one, Warned)
    ]
