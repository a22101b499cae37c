"""What the loop and the direct actions tell Prometheus. Targets are no labels: their number has no bound."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram

from guardrails.types import Verdict
from signals.lib import tracing
from signals.lib.metrics import initialized
from signals.reasons import GUARDRAIL_REASONS, Reason
from signals.types import ActionType, Source

if TYPE_CHECKING:
    from orchestrator.models import Action

TYPES = [type_.lower() for type_ in ActionType]
STATUSES = ("success", "failed", "timed_out", "cancelled", "rejected", "expired")
UP_TO_AN_HOUR = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

SIGNALS = initialized(
    Counter("orchestrator_closed_loop_signals_total", "Signals that the loop decided on.", ["kind"]), Source
)
ACTIONS = initialized(
    Counter("orchestrator_closed_loop_actions_total", "Actions that ended, by their final state.", ["type", "status"]),
    TYPES,
    STATUSES,
)
RETRIES = initialized(
    Counter("orchestrator_closed_loop_retries_total", "Actions put off to be tried again.", ["type", "reason"]),
    TYPES,
    (Reason.CLUSTER_THROTTLED, Reason.CLUSTER_UNREACHABLE, Reason.CONFLICT),
)
DURATION = initialized(
    Histogram(
        "orchestrator_closed_loop_duration_seconds",
        "From the signal's first sight to the end of its action.",
        ["status"],
        buckets=UP_TO_AN_HOUR,
    ),
    STATUSES,
)
ACTION_DURATION = initialized(
    Histogram(
        "orchestrator_closed_loop_action_duration_seconds",
        "From an action's creation to its end, verification included.",
        ["type"],
        buckets=(0.05, *UP_TO_AN_HOUR[:-1]),
    ),
    TYPES,
)
GUARDRAIL_BLOCKS = initialized(
    Counter(
        "orchestrator_closed_loop_guardrail_blocks_total", "Decisions that held an action back.", ["type", "reason"]
    ),
    TYPES,
    GUARDRAIL_REASONS,
)
GUARDRAIL_USED = Histogram(
    "smartops_orchestrator_guardrail_used_ratio",
    "How much of a limit the workload had used when its signal was decided on: 1 is all of it.",
    ["guardrail"],
    buckets=(0, 0.25, 0.5, 0.75, 0.9, 1),
)
VERIFICATION_DURATION = initialized(
    Histogram(
        "smartops_orchestrator_verification_duration_seconds",
        "From the write to the outcome of its verification.",
        ["status"],
        buckets=UP_TO_AN_HOUR[:-2],
    ),
    ("success", "failed", "timed_out"),
)
DIRECT_ACTIONS = initialized(
    Counter(
        "smartops_orchestrator_direct_actions_total",
        "Direct actions that ended, by their final state.",
        ["type", "status"],
    ),
    TYPES,
    STATUSES,
)
DIRECT_REFUSALS = initialized(
    Counter(
        "smartops_orchestrator_direct_refusals_total", "Direct actions that were refused at once.", ["type", "reason"]
    ),
    TYPES,
    GUARDRAIL_REASONS,
)
TAKEOVERS = Counter("smartops_orchestrator_takeovers_total", "Actions taken over from a reconciler that went silent.")
FAILED_STEPS = Counter(
    "smartops_orchestrator_failed_steps_total", "Steps of the loop that an error ended; the log says which."
)


def record_use(verdicts: Iterable[Verdict]) -> None:
    """Of each limit that fills up, how much was used before the proposal."""
    for verdict in verdicts:
        details = verdict.details
        used, limit = details.get("current", details.get("value")), details.get("limit")
        if used is not None and limit:
            GUARDRAIL_USED.labels(verdict.guardrail).observe(used / limit)


def record_end(action: "Action") -> None:
    """Of an action that has just ended, after its commit."""
    status = "success" if action.state == "succeeded" else str(action.state)
    type_ = action.type.lower()
    if action.signal is None:
        DIRECT_ACTIONS.labels(type=type_, status=status).inc()
        return
    assert action.finished_at is not None
    exemplar = tracing.exemplar()
    ACTIONS.labels(type=type_, status=status).inc()
    ACTION_DURATION.labels(type=type_).observe((action.finished_at - action.created_at).total_seconds(), exemplar)
    since = action.finished_at - action.signal.first_seen_at
    DURATION.labels(status=status).observe(since.total_seconds(), exemplar)
