"""Was too much done to the target recently? Direct actions are counted and not held back; dry runs are neither."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

from guardrails.checks.answers import RECHECK, governs, no_history, no_target
from guardrails.types import Deferral, Denial, Facts, Limits, RecentAction, Verdict
from signals.figures import rounded_up
from signals.proposals import scale_decrease, scale_increase, sets_replicas
from signals.reasons import Reason
from signals.types import ActionType, Proposal

RATE_WINDOW = timedelta(hours=1)
SCALE_WINDOW = timedelta(minutes=15)
MAX_WINDOW = max(RATE_WINDOW, SCALE_WINDOW)


def cooldown(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects the time that an action needs to take effect: `cooldown_seconds` after each action of the same type.

    Closed loop: defer until the cooldown ends. Direct action: allow.
    """
    name, until = "cooldown", facts.cooldown_until
    if not facts.history_loaded:
        return no_history(name)
    details: dict[str, Any] = {"limit_seconds": limits.cooldown_seconds}
    if not governs(proposal) or until is None or until <= now:
        return Verdict(name, details=details)
    left = (until - now).total_seconds()
    details |= {"remaining_seconds": rounded_up(left, 1), "next_allowed_at": until.isoformat()}
    message = f"The last {proposal.type} of {proposal.target} needs {rounded_up(left)} s more to take effect."
    return Deferral(name, message, details, reason=Reason.COOLDOWN_ACTIVE, until=until)


def actions_per_hour(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects against a loop that repeats a remedy without effect: `max_actions_per_hour` of each type.

    Closed loop: defer until the window has room. Direct action: allow.
    """
    name, limit = "actions_per_hour", limits.max_actions_per_hour
    if not facts.history_loaded:
        return no_history(name)
    counted = actions_in_window(proposal.type, facts.recent, now)
    window = int(RATE_WINDOW.total_seconds())
    details: dict[str, Any] = {"value": len(counted), "limit": limit, "window_seconds": window}
    if not governs(proposal) or len(counted) < limit:
        return Verdict(name, details=details)
    # The window has room again when all but `limit - 1` of them have left it.
    until = counted[len(counted) - limit].at + RATE_WINDOW if limit else now + RECHECK
    details["next_allowed_at"] = until.isoformat()
    message = f"{len(counted)} of {limit} {proposal.type} actions on {proposal.target} within the last hour."
    return Deferral(name, message, details, reason=Reason.RATE_LIMIT, until=until)


def scale_velocity(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects against runaway growth: `max_scale_increase` replicas within 15 minutes, by all types together.

    Closed loop: defer until the window has room; deny if this change alone exceeds the limit. Direct action: allow.
    """
    moved = [(one.at, one.scale_increase) for one in increases_in_window(facts.recent, now)]
    return _velocity("scale_velocity", "+", moved, scale_increase, limits.max_scale_increase, proposal, facts)


def scale_down_velocity(proposal: Proposal, facts: Facts, limits: Limits, now: datetime) -> Verdict:
    """Protects against running dry: `max_scale_decrease` replicas removed within 15 minutes, by all types together.

    Closed loop: defer until the window has room; deny if this change alone exceeds the limit. Direct action: allow.
    """
    moved = [(one.at, one.scale_decrease) for one in decreases_in_window(facts.recent, now)]
    return _velocity("scale_down_velocity", "-", moved, scale_decrease, limits.max_scale_decrease, proposal, facts)


def _velocity(
    name: str,
    sign: str,
    moved: Sequence[tuple[datetime, int]],
    change: Callable[[Proposal, int], int],
    limit: int,
    proposal: Proposal,
    facts: Facts,
) -> Verdict:
    """`moved`: when and by how many replicas, oldest first, in the window. `change` is that of the proposal."""
    if not facts.history_loaded:
        return no_history(name)
    value = sum(by for _, by in moved)
    details: dict[str, Any] = {"value": value, "limit": limit, "window_seconds": int(SCALE_WINDOW.total_seconds())}
    if facts.target is None and sets_replicas(proposal):
        return no_target(name, proposal, facts, details)
    wanted = 0 if facts.target is None else change(proposal, facts.target.replicas)
    details["wanted"] = wanted
    if not governs(proposal) or not wanted or value + wanted <= limit:
        return Verdict(name, details=details)
    message = (
        f"{sign}{wanted} replicas on top of {sign}{value} within 15 minutes would exceed {sign}{limit} for "
        f"{proposal.target}."
    )
    if wanted > limit:
        return Denial(name, message, details, reason=Reason.SCALE_VELOCITY_LIMIT)
    until = _room_at(moved, limit - wanted)
    details["next_allowed_at"] = until.isoformat()
    return Deferral(name, message, details, reason=Reason.SCALE_VELOCITY_LIMIT, until=until)


def actions_in_window(type_: ActionType, recent: Sequence[RecentAction], now: datetime) -> list[RecentAction]:
    """Those that count in `actions_per_hour`, oldest first."""
    return sorted((one for one in recent if one.type is type_ and one.at > now - RATE_WINDOW), key=_age)


def increases_in_window(recent: Sequence[RecentAction], now: datetime) -> list[RecentAction]:
    """Those that count in `scale_velocity`, oldest first."""
    return sorted((one for one in recent if one.scale_increase and one.at > now - SCALE_WINDOW), key=_age)


def decreases_in_window(recent: Sequence[RecentAction], now: datetime) -> list[RecentAction]:
    """Those that count in `scale_down_velocity`, oldest first."""
    return sorted((one for one in recent if one.scale_decrease and one.at > now - SCALE_WINDOW), key=_age)


def _room_at(moved: Sequence[tuple[datetime, int]], room: int) -> datetime:
    """When the changes that are still in the window sum up to `room` or less."""
    total = sum(by for _, by in moved)
    gone = accumulate(by for _, by in moved)
    return next(at + SCALE_WINDOW for (at, _), removed in zip(moved, gone, strict=True) if total - removed <= room)


def _age(one: RecentAction) -> datetime:
    return one.at
