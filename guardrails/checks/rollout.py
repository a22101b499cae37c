"""Is somebody changing the pods of the target right now, or has somebody just done so?"""

from datetime import datetime, timedelta
from typing import Any

from guardrails.checks.answers import RECHECK, no_target, wait_or_warn
from guardrails.types import Facts, Limits, RolloutFacts, RolloutState, Verdict
from signals.proposals import changes_template
from signals.reasons import Reason
from signals.types import Proposal


def rollout(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects every rollout until it has ended, and the first `rollout_settle_seconds` after somebody
    else changed the pod template. A restart in the middle would begin it anew, and would become the revision to which
    `kubectl rollout undo` adds another. For the same reason pods are not replaced while a rollout of somebody else is
    stuck. Where it is the first one, or our own, there is nothing to go back to, and a restart may help.

    Closed loop: defer. Direct action: warn.
    """
    name = "rollout"
    if facts.target is None:
        return no_target(name, proposal, facts)
    found = facts.target.rollout
    details, settled_at = _details(found), _settled_at(found, limits, now)
    if found.state is RolloutState.IN_PROGRESS:
        until = max(now + RECHECK, settled_at)
        message = f"A rollout of {proposal.target}{_started(found)} is in progress: {found.message}. {_counts(found)}."
        return wait_or_warn(name, proposal, Reason.ROLLOUT_IN_PROGRESS, message, details, until)
    if (
        found.state is RolloutState.STUCK
        and not (found.ours or found.first)
        and changes_template(proposal.type, proposal.params)
    ):
        message = (
            f"The rollout of {proposal.target}{_started(found)} is stuck: {found.message}. {_counts(found)}. Run "
            "kubectl rollout undo, or correct the pod template."
        )
        return wait_or_warn(name, proposal, Reason.ROLLOUT_STUCK, message, details, now + RECHECK)
    if settled_at > now:
        details |= {"limit_seconds": limits.rollout_settle_seconds}
        message = (
            f"{found.changed_by} changed the pod template of {proposal.target} less than "
            f"{limits.rollout_settle_seconds} s ago, at {found.changed_at:%H:%M:%S} UTC."
        )
        return wait_or_warn(name, proposal, Reason.TEMPLATE_CHANGED, message, details, settled_at)
    return Verdict(name, details=details)


def _settled_at(found: RolloutFacts, limits: Limits, now: datetime) -> datetime:
    """Not after now, if nobody else has changed the template. The time of a change is that of the cluster's clock,
    which may be ahead."""
    if found.changed_at is None:
        return now
    return min(found.changed_at, now) + timedelta(seconds=limits.rollout_settle_seconds)


def _started(found: RolloutFacts) -> str:
    by = "SmartOps" if found.ours else found.by
    since = f" since {found.since:%H:%M:%S} UTC" if found.since else ""
    return f" by {by}{since}" if by else since


def _counts(found: RolloutFacts) -> str:
    return f"Of {found.total} pods, {found.updated} are updated and {found.ready} are ready"


def _details(found: RolloutFacts) -> dict[str, Any]:
    """What is known of it."""
    details: dict[str, Any] = {"rollout": found.state.value}
    if found.state is not RolloutState.COMPLETE:
        details |= {"updated": found.updated, "ready": found.ready, "total": found.total}
    if found.since is not None:
        details |= {"by": found.by, "since": found.since.isoformat()}
    if found.changed_at is not None:
        details |= {"changed_by": found.changed_by, "changed_at": found.changed_at.isoformat()}
    return details
