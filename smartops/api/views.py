"""Response bodies: signals, actions and what belongs to them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator import links
from orchestrator.models import Action, ActionState, Verification, VerificationStatus
from signals.models import Problem, Signal, SignalState
from signals.proposals.images import Irreversible
from signals.types import ActionType, Kind, Origin, Source
from smartops import queries

OrNull = BeforeValidator(lambda value: value or None)
NullableText = Annotated[str | None, OrNull]


class TargetView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    kind: Kind
    namespace: str
    name: str
    cluster: str


class VerificationView(BaseModel):
    """The last observed counts of the target. `status` is null while the verification runs."""

    model_config = ConfigDict(from_attributes=True)

    status: Annotated[VerificationStatus | None, OrNull]
    message: str
    desired_replicas: int | None
    ready_replicas: int | None
    available_replicas: int | None
    updated_replicas: int | None
    started_at: datetime
    finished_at: datetime | None


class WarningView(BaseModel):
    """Why the closed loop would not have done now what was done as requested."""

    guardrail: str
    reason: str
    message: str
    details: dict[str, Any]


class ActionView(BaseModel):
    """One intended change. `reason` is the CamelCase cause of the current state, null if the state needs none.
    `justification` is the `reason` of the request, or the rule that matched."""

    id: UUID
    url: NullableText = Field(
        description="The page of the console: of the approval that the action waits for, else of the action. Null "
        "unless the installation has set its address."
    )
    type: ActionType
    state: ActionState
    target: TargetView
    reason: NullableText
    message: NullableText
    details: dict[str, Any]
    warnings: list[WarningView] = Field([], description="Of the guardrails, when the change was planned.")
    verification: VerificationView | None
    origin: Origin
    requested_by: str = Field(description="An actor: `token:NAME`, or `rule:NAME` in the closed loop.")
    reported_by: list[str] = Field(description="The tokens that reported the signal, as actors.")
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


class TransitionView(BaseModel):
    """One change of an action's state. `from_state` is null for the first."""

    model_config = ConfigDict(from_attributes=True)

    at: datetime
    from_state: NullableText
    to_state: ActionState
    reason: NullableText
    message: NullableText
    details: dict[str, Any]
    actor: str = Field(description="`KIND:NAME`; a kind is user, token, rule, reconciler or system.")


class VerdictView(BaseModel):
    """What one guardrail says. `ask`: persons have to approve it. `observe`: it is recorded, and not done. `warn`
    allows, with a warning. `not_evaluated`: the facts that it needs are unknown, and the message says why."""

    guardrail: str
    outcome: Literal["allow", "ask", "observe", "warn", "defer", "deny", "ignore", "not_evaluated"]
    reason: str | None
    message: str
    details: dict[str, Any] = Field(description="The facts behind it: numbers, names, times.")
    until: datetime | None


class DecisionView(BaseModel):
    """The verdict of every guardrail, at admission (`admit`) or before the write (`plan`)."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    phase: Literal["admit", "plan"]
    requested_by: str = Field(
        description="An actor: the token or the rule that proposed the change; the token that posted, if no rule did."
    )
    outcome: Literal["allow", "ask", "observe", "defer", "deny", "ignore"]
    reason: NullableText
    message: NullableText
    until: datetime | None
    verdicts: list[VerdictView]
    created_at: datetime


class FieldView(BaseModel):
    """A changed field. `before` and `after` are null where the object does not have the field."""

    path: str
    before: Any
    after: Any


class InverseView(BaseModel):
    """What puts the changed fields back: the parameters of an action of the same type, or why there is none."""

    params: dict[str, Any] | None = None
    reason: str | None = None


class ActionDetail(ActionView):
    before: dict[str, Any] | None = Field(description="The target before the change.")
    change: dict[str, Any] | None = Field(description="The planned change, in absolute values.")
    fields: list[FieldView] = Field(description="The changed fields; empty until the change is planned.")
    inverse: InverseView | None = Field(description="Null until the change is planned.")
    timeline: list[TransitionView]
    decisions: list[DecisionView]

    @classmethod
    def of(cls, action: Action) -> "ActionDetail":
        return cls(
            **_fields(action),
            before=action.before,
            change=action.change,
            fields=changed_fields(action),
            inverse=_inverse(action),
            timeline=[TransitionView.model_validate(event) for event in action.events.all()],
            decisions=_decisions(Q(action=action)),
        )


class ActionResultDetails(BaseModel):
    runner: dict[str, Any] = Field(
        description="The write to the cluster: status (success, dry_run; observed: none was made), attempts, "
        "duration_seconds, change."
    )
    action: UUID


class ActionResult(BaseModel):
    """The end of a direct action. `success`: the change was applied and, if requested, verified."""

    success: bool
    message: str
    dry_run: bool
    details: ActionResultDetails
    warnings: list[WarningView] = Field([], description="Of the guardrails. Omitted if there are none.")
    verification: VerificationView | None

    @classmethod
    def of(cls, action: Action) -> "ActionResult":
        ended = action.applied_at or action.finished_at or action.updated_at
        runner = {
            "status": _written(action),
            "attempts": action.attempts,
            "duration_seconds": round((ended - action.created_at).total_seconds(), 3),
            "change": action.change,
        }
        return cls(
            success=action.state == ActionState.SUCCEEDED,
            message=action.message,
            dry_run=action.dry_run,
            details=ActionResultDetails(runner=runner, action=action.pk),
            warnings=[WarningView(**one) for one in action.warnings],
            verification=_verification(action),
        )


class SignalView(BaseModel):
    """One problem of one workload. A deferred signal is pending, with a `reason` and a `not_before` in the future."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    source: Source
    cluster: str
    kind: Kind
    namespace: str
    workload: str
    named_by: NullableText = Field(description="The label that names the target; null if it is named itself.")
    identification: NullableText = Field(description="How the target was identified; null if it is named as it is.")
    nearest: list[str] = Field(description="Names of workloads that resemble the name of an unidentified signal.")
    symptom: str = Field(description="The anomaly's type, or the most probable cause.")
    severity: NullableText
    labels: dict[str, str]
    started_at: datetime | None = Field(description="When the problem began, if the detector says so.")
    state: SignalState
    reason: NullableText = Field(description="The CamelCase cause of the current state; null if it needs none.")
    message: NullableText
    score: float | None
    probability: float | None
    confidence: float | None
    count: int = Field(description="Number of posts that reported the signal while it was open.")
    first_seen_at: datetime
    last_seen_at: datetime
    not_before: datetime
    resolved_at: datetime | None
    closed_at: datetime | None


class HeardView(BaseModel):
    """How often a problem was reported, and when and by which token last. Repeated posts are not counted."""

    count: int
    last_at: datetime | None
    last_by: NullableText


class ProblemView(BaseModel):
    """All reports of one symptom of one workload by one kind of source, over all of its signals."""

    firing: HeardView
    healthy: HeardView = Field(description="Reports of its end, also those without an open signal.")

    @staticmethod
    def report_counts(problem: Problem) -> dict[str, HeardView]:
        """The fields `firing` and `healthy`."""
        return {
            "firing": HeardView(count=problem.firing_count, last_at=problem.firing_at, last_by=problem.firing_by),
            "healthy": HeardView(count=problem.healthy_count, last_at=problem.healthy_at, last_by=problem.healthy_by),
        }


class SignalDetail(SignalView):
    problem: ProblemView | None = Field(description="Null if the history of the problem was removed.")
    payload: dict[str, Any] = Field(description="The body of the latest post.")
    annotations: dict[str, str]
    observations: int = Field(description="Number of stored posts.")
    decisions: list[DecisionView]
    actions: list[ActionView]

    @classmethod
    def of(cls, signal: Signal, observations: int) -> "SignalDetail":
        return cls(
            **SignalView.model_validate(signal).model_dump(),
            problem=None
            if (problem := signal.problem()) is None
            else ProblemView(**ProblemView.report_counts(problem)),
            payload=signal.payload,
            annotations=signal.annotations,
            observations=observations,
            decisions=_decisions(Q(signal=signal)),
            actions=[ActionView.of(action) for action in queries.actions().filter(signal=signal).order_by("pk")],
        )


def _written(action: Action) -> str:
    if action.state == ActionState.OBSERVED:
        return "observed"
    return "dry_run" if action.dry_run else "success"


def changed_fields(action: Action) -> list[FieldView]:
    before, after = action.before_image or {}, action.after_image or {}
    return [FieldView(path=path, before=before.get(path), after=after.get(path)) for path in sorted(before | after)]


def _inverse(action: Action) -> InverseView | None:
    match action.inverse(tuple(settings.SMARTOPS_ALLOWED_PATCH_PREFIXES)):
        case Irreversible(why):
            return InverseView(reason=why)
        case params:
            return None if params is None else InverseView(params=dict(params))


def _decisions(about: Q) -> list[DecisionView]:
    return [DecisionView.model_validate(row) for row in queries.decisions(about)]


def _verification(action: Action) -> VerificationView | None:
    """None until the change was applied: before that, no query is made."""
    found: Verification | None = None if action.applied_at is None else getattr(action, "verification", None)
    return None if found is None else VerificationView.model_validate(found)


def _fields(action: Action) -> dict[str, Any]:
    return {name: getattr(action, name) for name in _PLAIN} | {
        "url": links.of_action(settings.SMARTOPS_CONSOLE_URL, action),
        "target": TargetView.model_validate(action.workload.target),
        "signal": action.signal_id,
        "verification": _verification(action),
    }


_PLAIN = ActionView.model_fields.keys() - {"url", "target", "signal", "verification"}
