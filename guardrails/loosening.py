"""Which changes of limits let the closed loop do more. Pure."""

from guardrails.types import Limits

LOOSER_IF_HIGHER = (
    "max_replicas", "max_actions_per_hour", "max_scale_increase", "max_scale_decrease", "signal_ttl_seconds",
)  # fmt: skip
LOOSER_IF_LOWER = (
    "min_replicas", "cooldown_seconds", "rollout_settle_seconds", "stabilization_seconds", "respect_owners",
)  # fmt: skip
NEITHER = ("verification_timeout_seconds",)


def loosened(before: Limits, after: Limits) -> tuple[str, ...]:
    """Of each limit that `after` loosens: “max_replicas from 8 to 20”."""
    higher = [name for name in LOOSER_IF_HIGHER if getattr(after, name) > getattr(before, name)]
    lower = [name for name in LOOSER_IF_LOWER if getattr(after, name) < getattr(before, name)]
    return tuple(f"{name} from {getattr(before, name)} to {getattr(after, name)}" for name in (*higher, *lower))
