"""What the closed loop tells Prometheus. Targets are no labels: their number has no bound."""

from prometheus_client import Counter, Gauge, Histogram

SIGNALS = Counter("orchestrator_closed_loop_signals_total", "Signals that the loop decided on.", ["kind"])
ACTIONS = Counter(
    "orchestrator_closed_loop_actions_total", "Actions that ended, by their final state.", ["type", "status"]
)
RETRIES = Counter("orchestrator_closed_loop_retries_total", "Actions put off to be tried again.", ["type", "reason"])
DURATION = Histogram(
    "orchestrator_closed_loop_duration_seconds",
    "From the signal's first sight to the end of its action.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
)
ACTION_DURATION = Histogram(
    "orchestrator_closed_loop_action_duration_seconds",
    "From an action's creation to its end, verification included.",
    ["type"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
)
QUEUE_DEPTH = Gauge("orchestrator_closed_loop_queue_depth", "Signals that wait for a decision, deferred ones included.")
GUARDRAIL_BLOCKS = Counter(
    "orchestrator_closed_loop_guardrail_blocks_total", "Decisions that held an action back.", ["type", "reason"]
)
