"""A rule as a document, and the result of trying it: shared by the API and `manage.py try_rule`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from django.core.exceptions import ValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from guardrails.replay import dump_verdicts
from guardrails.types import Decision, Outcome
from orchestrator.what_if.rule_trial import RuleTrial, RuleWarning, Tried, Warns
from signals.models import Rule
from signals.names import kind_of
from signals.proposals import PROPOSAL_TYPES
from signals.symptoms import SymptomMatch
from signals.trial import Fit
from signals.types import ActionType, Kind, Mode, Proposal, Source

MAX_SIGNALS = 1000
MAX_SHOWN = 100  # signals in a result, those that the rule matches first


class RuleBody(BaseModel):
    """A rule with the fields that the admin has. docs/signals.md describes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field("trial", description="The trial takes the place of the saved rule of this name.")
    priority: int = Field(100, ge=0, le=32767, description="Smaller is tried first.")
    source: Source
    symptom: str
    symptom_match: SymptomMatch = SymptomMatch.EQUAL
    severity: str = ""
    labels: str = Field("", description='Matchers: `team="payments", tier!="test"`.')
    kind: Annotated[Kind | Literal[""], BeforeValidator(lambda value: value and kind_of(value))] = ""
    namespace: str = ""
    workload: str = ""
    min_score: float | None = Field(None, allow_inf_nan=False)
    min_probability: float | None = Field(None, allow_inf_nan=False)
    min_confidence: float | None = Field(None, allow_inf_nan=False)
    for_seconds: int = Field(0, ge=0)
    min_reports: int = Field(0, ge=0)
    of_reports: int = Field(0, ge=0)
    action_type: ActionType
    params: dict[str, Any] = Field(default_factory=dict)
    mode: Mode = Mode.AUTO

    def rule(self) -> Rule:
        """Not saved. Raises ValidationError, by field, for mistakes."""
        rule = Rule(**self.model_dump())
        problems: dict[str, Any] = {}
        try:
            rule.clean_fields()
        except ValidationError as error:
            problems = dict(error.message_dict)
        if problems := rule.mistakes() | problems:
            raise ValidationError(problems)
        return rule


class WarningView(BaseModel):
    kind: Warns
    message: str
    field: str | None = Field(description="Of the rule; null if it is about several.")


class ProposalView(BaseModel):
    type: ActionType
    params: dict[str, Any]
    description: str


class TrialDecision(BaseModel):
    """What the guardrails would decide now, if the signal had just been reported. No cluster is read: what needs the
    target is `not_evaluated`."""

    outcome: Outcome
    reason: str | None
    message: str | None
    until: datetime | None
    verdicts: list[dict[str, Any]]


class TriedSignal(BaseModel):
    signal: UUID
    cluster: str
    kind: Kind
    namespace: str
    workload: str
    symptom: str
    first_seen_at: datetime
    last_seen_at: datetime
    fit: Fit
    message: str
    details: dict[str, Any]
    proposal: ProposalView | None
    decision: TrialDecision | None


class RuleTrialView(BaseModel):
    """The result of a trial. `counts`: the number of signals by their fit."""

    examined: int
    counts: dict[Fit, int]
    warnings: list[WarningView]
    signals: list[TriedSignal] = Field(
        description=f"At most {MAX_SHOWN}: those that the rule matches first, the newest of them first."
    )

    @classmethod
    def of(cls, trial: RuleTrial) -> "RuleTrialView":
        fits = Counter(one.trial.fit for one in trial.tried)
        shown = sorted(trial.tried, key=lambda one: list(Fit).index(one.trial.fit))[:MAX_SHOWN]
        return cls(
            examined=len(trial.tried),
            counts={fit: fits[fit] for fit in Fit},
            warnings=list(map(_warning, trial.warnings)),
            signals=list(map(_tried, shown)),
        )


def field_errors(error: ValidationError) -> Sequence[Mapping[str, Any]]:
    """As pydantic has them."""
    return [{"loc": (name,), "msg": " ".join(messages)} for name, messages in error.message_dict.items()]


def _warning(one: RuleWarning) -> WarningView:
    return WarningView(kind=one.kind, message=one.message, field=one.field or None)


def _tried(one: Tried) -> TriedSignal:
    row, trial = one.row, one.trial
    return TriedSignal(
        signal=row.pk,
        cluster=row.cluster,
        kind=Kind(row.kind),
        namespace=row.namespace,
        workload=row.workload,
        symptom=row.symptom,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        fit=trial.fit,
        message=trial.message,
        details=trial.details,
        proposal=None if trial.proposal is None else _proposal(trial.proposal),
        decision=None if one.decision is None else _decision(one.decision),
    )


def _proposal(proposal: Proposal) -> ProposalView:
    description = PROPOSAL_TYPES[proposal.type].describe(proposal.params)
    return ProposalView(type=proposal.type, params=dict(proposal.params), description=description)


def _decision(decision: Decision) -> TrialDecision:
    return TrialDecision(
        outcome=decision.outcome,
        reason=getattr(decision, "reason", None),
        message=getattr(decision, "message", None),
        until=getattr(decision, "until", None),
        verdicts=dump_verdicts(decision.verdicts),
    )
