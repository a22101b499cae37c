"""Metrics of the control loop and of direct actions. No label names a target: the number of targets is unbounded."""

from collections.abc import Iterable
from functools import cache

from prometheus_client import Counter, Histogram

from guardrails.types import Verdict
from signals.lib import tracing
from signals.lib.metrics import initialized
from signals.reasons import GUARDRAIL_REASONS, Reason
from signals.types import ActionType, Source

TYPES = [type_.lower() for type_ in ActionType]
STATUSES = ("success", "failed", "timed_out", "cancelled", "rejected", "expired")
UP_TO_AN_HOUR = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

SIGNALS = initialized(
    Counter("orchestrator_closed_loop_signals_total", "Signals that the control loop decided.", ["kind"]), Source
)
ACTIONS = initialized(
    Counter(
        "orchestrator_closed_loop_actions_total",
        "Actions of the control loop that ended, by final state.",
        ["type", "status"],
    ),
    TYPES,
    STATUSES,
)
RETRIES = initialized(
    Counter(
        "orchestrator_closed_loop_retries_total",
        "Attempts that the control loop postponed because of the cluster.",
        ["type", "reason"],
    ),
    TYPES,
    (
        Reason.ADMISSION_UNAVAILABLE,
        Reason.CLUSTER_ERROR,
        Reason.CLUSTER_THROTTLED,
        Reason.CLUSTER_UNREACHABLE,
        Reason.CONFLICT,
    ),
)
DURATION = initialized(
    Histogram(
        "orchestrator_closed_loop_duration_seconds",
        "Time from the first report of a signal to the end of its action.",
        ["status"],
        buckets=UP_TO_AN_HOUR,
    ),
    STATUSES,
)
ACTION_DURATION = initialized(
    Histogram(
        "orchestrator_closed_loop_action_duration_seconds",
        "Time from the creation of an action to its end, verification included.",
        ["type"],
        buckets=(0.05, *UP_TO_AN_HOUR[:-1]),
    ),
    TYPES,
)
GUARDRAIL_BLOCKS = initialized(
    Counter(
        "orchestrator_closed_loop_guardrail_blocks_total",
        "Decisions of the control loop that deferred or denied an action, by reason.",
        ["type", "reason"],
    ),
    TYPES,
    GUARDRAIL_REASONS,
)
GUARDRAIL_USED = Histogram(
    "smartops_orchestrator_guardrail_used_ratio",
    "Used share of a guardrail's limit when a signal was decided: 1 is the whole limit.",
    ["guardrail"],
    buckets=(0, 0.25, 0.5, 0.75, 0.9, 1),
)
VERIFICATION_DURATION = initialized(
    Histogram(
        "smartops_orchestrator_verification_duration_seconds",
        "Time from the write to the result of its verification.",
        ["status"],
        buckets=UP_TO_AN_HOUR[:-2],
    ),
    ("success", "failed", "timed_out"),
)
DIRECT_ACTIONS = initialized(
    Counter(
        "smartops_orchestrator_direct_actions_total",
        "Direct actions that ended, by final state.",
        ["type", "status"],
    ),
    TYPES,
    STATUSES,
)
DIRECT_REFUSALS = initialized(
    Counter(
        "smartops_orchestrator_direct_refusals_total",
        "Direct actions that the web process refused, by reason.",
        ["type", "reason"],
    ),
    TYPES,
    GUARDRAIL_REASONS,
)
TAKEOVERS = Counter(
    "smartops_orchestrator_takeovers_total",
    "Actions that a reconciler took over after the lease of another one expired.",
)
FAILED_STEPS = Counter(
    "smartops_orchestrator_failed_steps_total",
    "Steps of the control loop, and rows within one, that failed with an error, which is in the log.",
)


def record_use(verdicts: Iterable[Verdict]) -> None:
    """Observe how much of each limit was used before the proposal."""
    for verdict in verdicts:
        details = verdict.details
        used, limit = details.get("current", details.get("value")), details.get("limit")
        if used is not None and limit:
            _used(verdict.guardrail).observe(used / limit)


_used = cache(GUARDRAIL_USED.labels)  # to find a series again costs more than to count in it


def record_end(type_: str, state: str, took: float, since_signal: float | None) -> None:
    """An action has ended. In seconds: since its creation, and since its signal was first seen, None for a direct
    action."""
    type_, status = type_.lower(), "success" if state == "succeeded" else state
    if since_signal is None:
        DIRECT_ACTIONS.labels(type=type_, status=status).inc()
        return
    exemplar = tracing.exemplar()
    ACTIONS.labels(type=type_, status=status).inc()
    ACTION_DURATION.labels(type=type_).observe(took, exemplar)
    DURATION.labels(status=status).observe(since_signal, exemplar)
