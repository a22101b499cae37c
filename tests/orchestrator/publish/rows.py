"""Rows of a timeline, and a publisher that keeps what it is given."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models.functions import Now
from prometheus_client import CollectorRegistry, Counter

from guardrails.replay import dump_inputs
from guardrails.types import Facts, Inputs, Limits, Outcome, TargetFacts
from orchestrator.models import FINAL, Action, ActionState, DecisionRecord, Workload
from orchestrator.publish.types import DecisionEntry, Entry, Published, Terms
from orchestrator.publish.types import Outcome as Answer
from signals.models import Signal
from signals.types import ActionType, Origin, RuleSpec, SignalFacts, Source, Target
from tests.kit.signals import anomaly, post

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RULE = RuleSpec(1, 1, "scale-up", Source.ANOMALY, "resource", ActionType.SCALE, {"delta": 1})


def target(name: str = "erp", cluster: str = "default") -> Target:
    return Target(cluster, "smartops-dev", name)


def propose(name: str = "erp", cluster: str = "default", **fields: Any) -> Action:
    """A new pending action, as one transition from nothing."""
    where = target(name, cluster)
    workload = fields.pop("workload") if "workload" in fields else Workload.lock([where])[where]
    given: dict[str, Any] = {
        "origin": Origin.DIRECT,
        "requested_by": "token:ana",
        "moved_by": "token:ana",
        "type": "SCALE",
    }
    return Action.objects.create(workload=workload, cluster=cluster, **given | fields)


def move(action: Action, state: ActionState, **fields: Any) -> None:
    fields |= {"lease_until": Now() + timedelta(minutes=1) if state == ActionState.APPLYING else None}
    if state == ActionState.VERIFYING:
        fields |= {"applied_at": Now()}
    if state in FINAL:
        fields |= {"finished_at": Now()}
    Action.objects.filter(pk=action.pk).update(state=state, updated_at=Now(), moved_by="reconciler:node/1", **fields)


def plan(action: Action, replicas: int = 3) -> None:
    """pending → applying, with the plan to scale from 2 replicas."""
    change = {"planned_uid": "uid-1", "before": {"replicas": 2}, "change": {"replicas": replicas}}
    move(action, ActionState.APPLYING, **change, epoch=1)


def a_signal(name: str = "erp") -> Signal:
    [receipt] = post(anomaly(name))
    return Signal.objects.get(pk=receipt.signal_id)


def inputs(signal: str = "0199-s", **fields: Any) -> Inputs:
    """Of a signal that `RULE` answers with one more replica; with a `proposal`, of a direct request."""
    said = SignalFacts(signal, Source.ANOMALY, target(), "resource", NOW, resolved=False, score=0.95)
    given: dict[str, Any] = {"facts": Facts(True, TargetFacts("uid-1", 2)), "limits": Limits()}
    given |= {} if "proposal" in fields else {"signal": said, "rules": (RULE,)}
    return Inputs(NOW, **given | fields)


def decide(outcome: Outcome, reason: str = "", *, of: Inputs | None = None, **about: Any) -> DecisionRecord:
    made_of = of or inputs()
    asked = made_of.proposal or made_of.signal
    on = asked.target if asked else target()
    place = {"cluster": on.cluster, "kind": on.kind, "namespace": on.namespace, "workload": on.name}
    given = {"phase": "admit", "requested_by": "rule:scale-up", "message": "The last SCALE needs 9 s.", "verdicts": []}
    return DecisionRecord.objects.create(
        outcome=outcome, reason=reason, inputs=dump_inputs(made_of), **place | given | about
    )


class Notebook:
    """A publisher: one short class."""

    def __init__(self, name: str = "notebook", answer: Callable[[Entry], Answer] | None = None, **terms: Any) -> None:
        self.name, self.terms = name, Terms(**terms)
        self.dropped = Counter("dropped", "Of this test.", registry=CollectorRegistry())
        self.entries: list[Entry] = []
        self.answer = answer or (lambda _: Published())

    def publish(self, entry: Entry) -> Answer:
        self.entries.append(entry)
        return self.answer(entry)

    @property
    def notes(self) -> list[str]:
        """A word for each entry."""
        return [note(entry) for entry in self.entries]

    @property
    def drops(self) -> int:
        return int(self.dropped._value.get())


def note(entry: Entry) -> str:
    if isinstance(entry, DecisionEntry):
        return f"{entry.outcome} {entry.reason}".strip()
    return f"{entry.target.name} {entry.from_state or 'new'}→{entry.to_state}"
