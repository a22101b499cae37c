"""What an action looks like from outside."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.db.models import QuerySet
from pydantic import BaseModel, ConfigDict, Field

from orchestrator.models import Action, ActionState, DecisionRecord, Verification, VerificationStatus
from signals.types import ActionType, Origin
from smartops.api.signals import OrNull, SignalView

NullableText = Annotated[str | None, OrNull]


class TargetView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    kind: str
    namespace: str
    name: str
    cluster: str


class VerificationView(BaseModel):
    """What was last seen of the target. A status of null: it is under way."""

    model_config = ConfigDict(from_attributes=True)

    status: Annotated[VerificationStatus | None, OrNull]
    message: str
    desired_replicas: int | None
    ready_replicas: int | None
    available_replicas: int | None
    updated_replicas: int | None
    started_at: datetime
    finished_at: datetime | None


class ActionView(BaseModel):
    """One intended change. `reason` is the CamelCase word for why it is in this state, null where there is nothing to
    say; `justification` is the text that came with the request, or the rule that matched."""

    id: UUID
    type: ActionType
    state: ActionState
    target: TargetView
    reason: NullableText
    message: NullableText
    details: dict[str, Any]
    verification: VerificationView | None
    origin: Origin
    requested_by: str
    justification: NullableText
    signal: UUID | None
    params: dict[str, Any]
    dry_run: bool
    verify: bool
    attempts: int
    created_at: datetime
    updated_at: datetime
    not_before: datetime
    deadline_at: datetime
    applied_at: datetime | None
    finished_at: datetime | None

    @classmethod
    def of(cls, action: Action) -> "ActionView":
        return cls(**_fields(action))


class EventView(BaseModel):
    """One transition."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    from_state: NullableText
    to_state: ActionState
    reason: NullableText
    message: NullableText
    details: dict[str, Any]
    actor: str


class VerdictView(BaseModel):
    """What one guardrail says. `not_evaluated`: the facts that it needs are unknown, and the message says why."""

    guardrail: str
    outcome: Literal["allow", "defer", "deny", "ignore", "not_evaluated"]
    reason: str | None
    message: str
    details: dict[str, Any] = Field(description="The facts behind it: numbers, names, times.")
    until: datetime | None


class DecisionView(BaseModel):
    """Why: the verdict of every guardrail, before the admission and again before each write."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    phase: Literal["admit", "plan"]
    outcome: Literal["allow", "defer", "deny", "ignore"]
    reason: NullableText
    message: NullableText
    until: datetime | None
    verdicts: list[VerdictView]
    created_at: datetime


class ActionDetail(ActionView):
    before: dict[str, Any] | None = Field(description="What the target was like before the change.")
    change: dict[str, Any] | None = Field(description="The absolute change that was planned.")
    timeline: list[EventView]
    decisions: list[DecisionView]

    @classmethod
    def of(cls, action: Action) -> "ActionDetail":
        return cls(
            **_fields(action),
            before=action.before,
            change=action.change,
            timeline=[EventView.model_validate(event) for event in action.events.all()],
            decisions=decisions(DecisionRecord.objects.filter(action=action)),
        )


class SignalDetail(SignalView):
    payload: dict[str, Any] = Field(description="The latest post, as it came.")
    observations: int = Field(description="The posts that were stored for it.")
    decisions: list[DecisionView]
    actions: list[ActionView]


def decisions(rows: QuerySet[DecisionRecord]) -> list[DecisionView]:
    return [DecisionView.model_validate(row) for row in rows.defer("inputs").order_by("pk")]


def verification(action: Action) -> Verification | None:
    """None before the change: then nothing is looked up."""
    found: Verification | None = None if action.applied_at is None else getattr(action, "verification", None)
    return found


def _fields(action: Action) -> dict[str, Any]:
    evidence = verification(action)
    return {name: getattr(action, name) for name in _PLAIN} | {
        "target": TargetView.model_validate(action.workload.target),
        "signal": action.signal_id,
        "verification": None if evidence is None else VerificationView.model_validate(evidence),
    }


_PLAIN = ActionView.model_fields.keys() - {"target", "signal", "verification"}
