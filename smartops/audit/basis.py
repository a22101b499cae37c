"""What a decision was based on: the settings that were in force, from their history, and whether its stored inputs lead
to the same decision again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from guardrails.evaluate import decide
from guardrails.models import LIMIT_FIELDS, scope_name
from guardrails.replay import dump_verdicts, load_inputs
from guardrails.types import Decision, Inputs
from guardrails.words import in_words
from orchestrator.models import DecisionRecord
from signals.actors import ActorKind, parse
from signals.models import SettingChange
from signals.types import Proposal, RuleSpec, Target

LIMITS, RULES = "guardrails_guardrailsetting", "signals_rule"


@dataclass(frozen=True, slots=True)
class InForce:
    """A limit with its value and the scope that set it, in words; `change` set it last. None: it is a default, or older
    than the history."""

    name: str
    text: str
    source: str
    change: SettingChange | None


@dataclass(frozen=True, slots=True)
class Again:
    """The evaluation of the stored inputs by this version. `problem`: why they cannot be evaluated. `differs`: the
    guardrails whose verdicts are other ones, and `outcome` and `reason` if they are."""

    inputs: Inputs | None
    decision: Decision | None
    differs: tuple[str, ...] = ()
    problem: str = ""

    @property
    def is_same(self) -> bool:
        return self.decision is not None and not self.differs

    @property
    def proposal(self) -> Proposal | None:
        if self.inputs is None:
            return None
        return self.inputs.proposal or getattr(self.decision, "proposal", None)

    @property
    def rule(self) -> RuleSpec | None:
        return getattr(self.decision, "rule", None)


def evaluate_again(record: DecisionRecord) -> Again:
    try:
        inputs = load_inputs(record.inputs)
    except ValueError as error:
        first = str(error).splitlines()[0]
        return Again(None, None, problem=f"This version cannot read the stored inputs: {first}")
    decision = decide(inputs)
    return Again(inputs, decision, tuple(_differences(record, decision)))


def _differences(record: DecisionRecord, decision: Decision) -> Iterator[str]:
    if decision.outcome != record.outcome:
        yield "outcome"
    if (getattr(decision, "reason", None) or "") != record.reason:
        yield "reason"
    stored = {one["guardrail"]: one for one in record.verdicts}
    found = {one["guardrail"]: one for one in dump_verdicts(decision.verdicts)}
    yield from (name for name in stored | found if stored.get(name) != found.get(name))


def limits_in_force(inputs: Inputs, target: Target) -> list[InForce]:
    """One query."""
    changes = {scope_name(**_scope(one.after)): one for one in _settings_at(inputs.now, target)}
    sources = inputs.limits.sources
    return [
        InForce(
            name,
            in_words(name, getattr(inputs.limits, name)),
            sources.get(name, "default"),
            changes.get(sources.get(name, "default")),
        )
        for name in LIMIT_FIELDS
    ]


def _settings_at(moment: datetime, target: Target) -> Iterator[SettingChange]:
    """The last change of each setting that covers the target."""
    rows = SettingChange.objects.filter(table_name=LIMITS, at__lte=moment).order_by("key", "-id").distinct("key")
    for one in rows:
        if one.after is not None and target.is_in(one.after):
            yield one


def _scope(row: Any) -> dict[str, str]:
    return {name: row[name] for name in ("cluster", "kind", "namespace", "workload")}


def rule_change(record: DecisionRecord, rule: RuleSpec | None, moment: datetime) -> SettingChange | None:
    """What made the rule as it was. Before a write the inputs have the name of the rule only. One query, or none."""
    rows = SettingChange.objects.filter(table_name=RULES, at__lte=moment).order_by("-id")
    if rule is not None:
        return rows.filter(key=str(rule.id)).first()
    kind, name = parse(record.requested_by) if record.requested_by else (None, "")
    return rows.filter(after__name=name).first() if kind is ActorKind.RULE else None
