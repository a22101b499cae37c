"""Limits in words, and what is left of them. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from guardrails.checks.windows import (
    RATE_WINDOW,
    SCALE_WINDOW,
    actions_in_window,
    decreases_in_window,
    increases_in_window,
)
from guardrails.types import Limits, RecentAction
from signals.figures import minute_after
from signals.proposals import PROPOSAL_TYPES
from signals.types import ActionType

OFF = Limits()  # the thresholds of approvals have no effect by default: no action is larger


@dataclass(frozen=True, slots=True)
class Budget:
    """What the closed loop may still do in a window. `limit` is the name of the field of Limits, `text` the limit in
    words. `next_at`: when the window has more room; None if nothing is in it. `type`: of the actions that it counts;
    None: it counts replicas."""

    limit: str
    text: str
    used: int
    left: int
    next_at: datetime | None
    type: ActionType | None = None

    def needed(self, done: RecentAction) -> int:
        """How much of it an action takes."""
        match self.limit:
            case "max_actions_per_hour":
                return int(self.type is done.type)
            case "max_scale_increase":
                return done.scale_increase
        return done.scale_decrease

    def __str__(self) -> str:
        """“at most 6 restarts per hour; 2 left, the next at 12:41 UTC”"""
        more = f", the next at {minute_after(self.next_at):%H:%M} UTC" if self.next_at else ""
        return f"{self.text}; {self.left} left{more}"


def budgets(limits: Limits, recent: Sequence[RecentAction], now: datetime) -> tuple[Budget, ...]:
    """Of each type of action per hour, and of the replicas added and removed within 15 minutes. `recent`: as in
    Facts."""
    found = []
    for type_, proposed in PROPOSAL_TYPES.items():
        limit = limits.max_actions_per_hour
        text = f"at most {counted(limit, *proposed.nouns)} per hour"
        moved = [(done.at, 1) for done in actions_in_window(type_, recent, now)]
        found.append(replace(_budget("max_actions_per_hour", text, limit, moved, RATE_WINDOW), type=type_))
    added = [(one.at, one.scale_increase) for one in increases_in_window(recent, now)]
    removed = [(one.at, one.scale_decrease) for one in decreases_in_window(recent, now)]
    for name, moved in (("max_scale_increase", added), ("max_scale_decrease", removed)):
        limit = getattr(limits, name)
        found.append(_budget(name, in_words(name, limit), limit, moved, SCALE_WINDOW))
    return tuple(found)


def lacking(limits: Limits, recent: Sequence[RecentAction], done: RecentAction, now: datetime) -> tuple[Budget, ...]:
    """The budgets of which too little is left for `done`."""
    return tuple(one for one in budgets(limits, recent, now) if one.left < one.needed(done))


def _budget(name: str, text: str, limit: int, moved: Sequence[tuple[datetime, int]], window: timedelta) -> Budget:
    """`moved`: when and how much, oldest first. What leaves the window makes room only below the limit."""
    used = sum(by for _, by in moved)
    left, next_at, kept = max(0, limit - used), None, used
    for at, by in moved:
        kept -= by
        if max(0, limit - kept) > left:
            next_at = at + window
            break
    return Budget(name, text, used, left, next_at)


def in_words(name: str, value: Any) -> str:
    """A value of a field of Limits."""
    said = WORDS.get(name)
    return said(value) if said else f"{name}: {value}"


def inherited(value: Any, source: str) -> str:
    """What an empty limit stands for: “inherited: 8 (default)”."""
    said = ("yes" if value else "no") if isinstance(value, bool) else value
    return f"inherited: {'none' if said == '' else said} ({source})"


def counted(number: int, one: str, many: str = "") -> str:
    """“1 replica”, “2 replicas”."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def lasting(seconds: float) -> str:
    """“5 minutes”, “90 seconds”, “1 hour”."""
    whole = int(seconds)
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if whole and whole % size == 0:
            return counted(whole // size, unit)
    return counted(whole, "second")


def _more_than(size: str, value: int) -> str:
    return f"more than {size}" if value else "any replica"


WORDS: Mapping[str, Callable[[Any], str]] = {
    "max_replicas": lambda value: f"at most {counted(value, 'replica')}",
    "min_replicas": lambda value: f"the closed loop leaves at least {counted(value, 'replica')}",
    "cooldown_seconds": lambda value: (
        f"{lasting(value)} from an action to the next one of its type" if value else "no pause between actions"
    ),
    "max_actions_per_hour": lambda value: f"at most {counted(value, 'action')} of each type per hour",
    "max_scale_increase": lambda value: f"at most {counted(value, 'replica')} added within 15 minutes",
    "max_scale_decrease": lambda value: f"at most {counted(value, 'replica')} removed within 15 minutes",
    "rollout_settle_seconds": lambda value: (
        f"{lasting(value)} from a change of the pod template by somebody else to the next action"
        if value
        else "no pause after a change of the pod template by somebody else"
    ),
    "signal_ttl_seconds": lambda value: f"a signal expires {lasting(value)} after its last report",
    "verification_timeout_seconds": lambda value: f"a rollout has {lasting(value)} to be complete",
    "stabilization_seconds": lambda value: (
        f"a complete rollout has to stay complete for {lasting(value)}"
        if value
        else "a rollout counts when it is complete"
    ),
    "respect_owners": lambda value: (
        "fields that an autoscaler, GitOps or an operator sets are left alone"
        if value
        else "fields that an autoscaler, GitOps or an operator sets may be changed"
    ),
    "mode": lambda value: {
        "auto": "actions run automatically",
        "approve": "actions wait for an approval",
        "observe": "actions are recorded, and do not run",
    }.get(value, f"the mode is {value}"),
    "max_unapproved_replicas": lambda value: (
        f"an action that adds or removes {_more_than(counted(value, 'replica'), value)} takes an approval"
        if value < OFF.max_unapproved_replicas
        else "no number of replicas takes an approval"
    ),
    "max_unapproved_percent": lambda value: (
        f"an action that adds or removes {_more_than(f'{value}% of the replicas', value)} takes an approval"
        if value < OFF.max_unapproved_percent
        else "no percentage of the replicas takes an approval"
    ),
    "protected_labels": lambda value: (
        f"actions of workloads with the label {value} take an approval" if value else "no label is protected"
    ),
    "approve_after_failure": lambda value: (
        "an action takes an approval after it has failed" if value else "an action may be repeated after it has failed"
    ),
    "approvals_required": lambda value: f"{counted(value, 'person')} must approve",
    "approval_timeout_seconds": lambda value: f"an action waits {lasting(value)} for an approval",
}
