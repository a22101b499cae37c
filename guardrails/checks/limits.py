"""The guardrails, one function each: `(proposal, facts, limits, now) -> Verdict`. Pure."""

from datetime import datetime, timedelta
from typing import Any

from guardrails.types import Facts, Limits, Outcome, RecentAction, Verdict
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal

RATE_WINDOW = timedelta(hours=1)
SCALE_WINDOW = timedelta(minutes=15)
MAX_WINDOW = max(RATE_WINDOW, SCALE_WINDOW)
RECHECK = timedelta(seconds=60)  # where nothing says when a deferral ends; most are woken earlier, by the event itself
PROTECTED_NAMESPACES = frozenset({"kube-system", "kube-public", "kube-node-lease"})


def desired_replicas(proposal: Proposal, current: int | None) -> int | None:
    """The absolute count that the proposal leads to; None where it leaves it alone or the current one is unknown."""
    if proposal.type is ActionType.PATCH:
        replicas = (proposal.params["patch"].get("spec") or {}).get("replicas")
        return None if replicas is None else int(replicas)
    if proposal.type is not ActionType.SCALE:
        return None
    if "replicas" in proposal.params:
        return int(proposal.params["replicas"])
    return None if current is None else current + int(proposal.params["delta"])


def scale_increase(proposal: Proposal, facts: Facts) -> int:
    """How many replicas the proposal adds; 0 where it adds none or the target is not known yet."""
    if facts.target is None:
        return 0
    desired = desired_replicas(proposal, facts.target.replicas)
    return 0 if desired is None else max(0, desired - facts.target.replicas)


def target(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name = "target"
    if not facts.managed:
        message = f"SmartOps does not manage the namespace “{proposal.target.namespace}”."
        return Verdict(name, Outcome.DENY, Reason.NAMESPACE_NOT_MANAGED, message)
    if not facts.target_seen:
        return Verdict(name, message="Not looked at yet: the reconciler does, right before it acts.")
    if facts.target is None:
        return Verdict(name, Outcome.DENY, Reason.TARGET_NOT_FOUND, f"There is no Deployment {proposal.target}.")
    if facts.target.deleting:
        return Verdict(name, Outcome.DENY, Reason.TARGET_BEING_DELETED, f"{proposal.target} is being deleted.")
    return Verdict(name, details={"uid": facts.target.uid, "replicas": facts.target.replicas})


def protected_namespace(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name, namespace = "protected_namespace", proposal.target.namespace
    if namespace in PROTECTED_NAMESPACES:
        message = f"“{namespace}” belongs to the cluster itself: change it by hand."
        return Verdict(name, Outcome.DENY, Reason.PROTECTED_NAMESPACE, message)
    return Verdict(name)


def freeze(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name = "freeze"
    if not facts.freezes:
        return Verdict(name)
    worst = max(facts.freezes, key=lambda fact: fact.until.timestamp() if fact.until else float("inf"))
    ends = f"until {worst.until:%Y-%m-%d %H:%M:%S} UTC" if worst.until else "until it is lifted"
    message = f"{worst.by} froze {worst.scope} {ends}: {worst.reason}"
    details = {"scope": worst.scope, "by": worst.by, "until": worst.until and worst.until.isoformat()}
    return wait_or_refuse(name, proposal, Reason.FROZEN, message, details, worst.until or now + RECHECK)


def one_action_at_a_time(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name = "one_action_at_a_time"
    if not facts.active_action:
        return Verdict(name)
    message = f"Action {facts.active_action} on {proposal.target} has not finished."
    return wait_or_refuse(name, proposal, Reason.TARGET_BUSY, message, {"action": facts.active_action}, now + RECHECK)


def max_replicas(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name = "max_replicas"
    current = facts.target.replicas if facts.target else None
    value = desired_replicas(proposal, current)
    details = {"value": value, "limit": limits.max_replicas, "current": current}
    if value is None:
        return Verdict(name, details=details)
    if value > limits.max_replicas:
        message = f"{value} replicas would exceed the limit of {limits.max_replicas} for {proposal.target}."
        return Verdict(name, Outcome.DENY, Reason.REPLICA_LIMIT, message, details)
    if value < 0:
        message = f"{value} replicas: there is nothing left to take away."
        return Verdict(name, Outcome.DENY, Reason.REPLICA_LIMIT, message, {**details, "limit": 0})
    return Verdict(name, details=details)


def cooldown(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name, until = "cooldown", facts.cooldown_until
    details: dict[str, Any] = {"limit_seconds": limits.cooldown_seconds}
    if not _governs(proposal) or until is None or until <= now:
        return Verdict(name, details=details)
    remaining = round((until - now).total_seconds(), 1)
    details |= {"remaining_seconds": remaining, "next_allowed_at": until.isoformat()}
    message = f"The last {proposal.type} of {proposal.target} needs {remaining:.0f} s more to take effect."
    return Verdict(name, Outcome.DEFER, Reason.COOLDOWN_ACTIVE, message, details, until)


def actions_per_hour(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name, limit = "actions_per_hour", limits.max_actions_per_hour
    counted = [one for one in facts.recent if one.type is proposal.type and _within(one, now, RATE_WINDOW)]
    details: dict[str, Any] = {
        "value": len(counted),
        "limit": limit,
        "window_seconds": int(RATE_WINDOW.total_seconds()),
    }
    if not _governs(proposal) or len(counted) < limit:
        return Verdict(name, details=details)
    # The window has room again when all but `limit - 1` of them have left it.
    until = sorted(counted, key=_age)[len(counted) - limit].at + RATE_WINDOW if limit else now + RECHECK
    details["next_allowed_at"] = until.isoformat()
    message = f"{len(counted)} of {limit} {proposal.type} actions on {proposal.target} within the last hour."
    return Verdict(name, Outcome.DEFER, Reason.RATE_LIMIT, message, details, until)


def scale_velocity(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name, limit = "scale_velocity", limits.max_scale_increase
    wanted = scale_increase(proposal, facts)
    counted = [one for one in facts.recent if one.scale_increase and _within(one, now, SCALE_WINDOW)]
    value = sum(one.scale_increase for one in counted)
    window = int(SCALE_WINDOW.total_seconds())
    details: dict[str, Any] = {"value": value, "wanted": wanted, "limit": limit, "window_seconds": window}
    if not _governs(proposal) or not wanted or value + wanted <= limit:
        return Verdict(name, details=details)
    message = f"+{wanted} replicas on top of +{value} within 15 minutes would exceed +{limit} for {proposal.target}."
    if wanted > limit:
        return Verdict(name, Outcome.DENY, Reason.SCALE_VELOCITY_LIMIT, message, details)
    until = now
    for one in sorted(counted, key=_age):
        value -= one.scale_increase
        until = one.at + SCALE_WINDOW
        if value + wanted <= limit:
            break
    details["next_allowed_at"] = until.isoformat()
    return Verdict(name, Outcome.DEFER, Reason.SCALE_VELOCITY_LIMIT, message, details, until)


def policy(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    name, answer = "policy", facts.policy
    if answer is None:
        return Verdict(name, message="No policy engine is configured.")
    details = {"engine": answer.engine}
    if answer.allow is None:
        message = f"The policy engine gave no answer: {answer.reason}"
        return wait_or_refuse(name, proposal, Reason.POLICY_UNAVAILABLE, message, details, now + RECHECK)
    if not answer.allow:
        return Verdict(name, Outcome.DENY, Reason.POLICY_DENIED, answer.reason, details)
    return Verdict(name, message=answer.reason, details=details)


def wait_or_refuse(
    name: str, proposal: Proposal, reason: Reason, message: str, details: dict[str, Any], until: datetime
) -> Verdict:
    """What will pass by itself: a signal can wait for it, a caller is told at once."""
    outcome = Outcome.DEFER if proposal.origin is Origin.CLOSED_LOOP else Outcome.DENY
    return Verdict(name, outcome, reason, message, details, until)


def _governs(proposal: Proposal) -> bool:
    """Cooldowns and windows hold back the closed loop; a person who acts directly is counted, not refused."""
    return proposal.origin is Origin.CLOSED_LOOP and not proposal.dry_run


def _within(one: RecentAction, now: datetime, window: timedelta) -> bool:
    return one.at > now - window


def _age(one: RecentAction) -> datetime:
    return one.at
