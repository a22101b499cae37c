"""Which changes of limits let the closed loop do more. Pure."""

from dataclasses import dataclass
from typing import Any

from guardrails.checks.approval import STRICTNESS, labels_of
from guardrails.types import Limits

LOOSER_IF_HIGHER = (
    "max_replicas", "max_actions_per_hour", "max_scale_increase", "max_scale_decrease", "signal_ttl_seconds",
    "max_unapproved_replicas", "max_unapproved_percent",
)  # fmt: skip
LOOSER_IF_LOWER = (
    "min_replicas", "cooldown_seconds", "rollout_settle_seconds", "stabilization_seconds", "respect_owners",
    "approve_after_failure", "approvals_required",
)  # fmt: skip
LOOSER_BY_RULE = ("mode", "protected_labels")  # a less strict mode; a label that is missing
NEITHER = ("verification_timeout_seconds", "approval_timeout_seconds")


@dataclass(frozen=True, slots=True)
class Loosened:
    """`limit` is the name of a field of Limits."""

    limit: str
    before: Any
    after: Any


def loosened(before: Limits, after: Limits) -> tuple[Loosened, ...]:
    """The limits that `after` loosens."""
    higher = [name for name in LOOSER_IF_HIGHER if getattr(after, name) > getattr(before, name)]
    lower = [name for name in LOOSER_IF_LOWER if getattr(after, name) < getattr(before, name)]
    laxer = [name for name, is_laxer in zip(LOOSER_BY_RULE, _laxer(before, after), strict=True) if is_laxer]
    return tuple(Loosened(name, getattr(before, name), getattr(after, name)) for name in (*higher, *lower, *laxer))


def _laxer(before: Limits, after: Limits) -> tuple[bool, bool]:
    mode = STRICTNESS.index(after.mode) < STRICTNESS.index(before.mode)
    return mode, bool({*labels_of(before.protected_labels)} - {*labels_of(after.protected_labels)})
