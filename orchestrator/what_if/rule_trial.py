"""Tries a rule on stored signals before it is saved: which it would match, and what the guardrails would say now.

Nothing is stored, and no cluster is read: a guardrail that needs the target is not evaluated. The signals are taken as
if they had just been reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.db.models import Max, Q

from guardrails.checks.target import PROTECTED_NAMESPACES
from guardrails.models import GuardrailSetting
from guardrails.types import Decision, Limits
from orchestrator.decide.decision import Question, decide
from orchestrator.models import Workload
from signals.lib.clock import database_now
from signals.models import Rule, Signal
from signals.names import is_pattern, name_matches
from signals.trial import Fit, Trial, shadow, try_on
from signals.types import RuleSpec, SignalFacts, Target

MAX_DECISIONS = 100  # workloads for which the guardrails are evaluated


class Warns(StrEnum):
    """What is wrong with a rule that has no mistake."""

    NEVER_MATCHES = "never_matches"
    SHADOWED = "shadowed"
    NEVER_ALLOWED = "never_allowed"
    EXPIRES = "expires"  # signals end before it holds, unless they are reported again
    NO_STORED_SIGNAL = "no_stored_signal"  # it matches none of those that it was tried on


@dataclass(frozen=True, slots=True)
class RuleWarning:
    """`field`: that of the rule; empty if it is about several."""

    kind: Warns
    message: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """One signal, what the rule would make of it, and the decision that would follow now."""

    row: Signal
    trial: Trial
    decision: Decision | None = None


@dataclass(frozen=True, slots=True)
class RuleTrial:
    """In the order of the signals given."""

    warnings: tuple[RuleWarning, ...]
    tried: tuple[Tried, ...]


def try_rule(rule: Rule, signals: Sequence[Signal]) -> RuleTrial:
    """`rule` need not be saved, and has no mistakes (`Rule.mistakes`). It takes the place of the saved rule of its
    name."""
    spec, earlier = rule.spec, _earlier(rule)
    trials = [try_on(spec, earlier, _facts(row)) for row in signals]
    decisions = _decisions(spec, trials)
    tried = tuple(
        Tried(row, trial, decisions.get(trial.signal.target) if trial.fit is Fit.PROPOSES else None)
        for row, trial in zip(signals, trials, strict=True)
    )
    return RuleTrial((*_warnings(rule, spec, earlier), *_of_trials(trials)), tried)


def _earlier(rule: Rule) -> list[RuleSpec]:
    """The enabled rules that are tried before. A new rule comes after those of its priority."""
    before, saved = Q(priority__lte=rule.priority), Rule.objects.filter(name=rule.name).first()
    if saved is not None:
        before = Q(priority__lt=rule.priority) | Q(priority=rule.priority, pk__lt=saved.pk)
    return [row.spec for row in Rule.objects.filter(before, enabled=True).order_by("priority", "pk")]


def _facts(row: Signal) -> SignalFacts:
    """Of the signal as it was last reported."""
    began = min(row.first_seen_at, row.started_at or row.first_seen_at)
    return replace(row.facts(), lasted_seconds=(row.last_seen_at - began).total_seconds())


def _decisions(spec: RuleSpec, trials: Sequence[Trial]) -> Mapping[Target, Decision]:
    """What would be decided now on the latest signal of each workload that leads to a proposal."""
    latest: dict[Target, Trial] = {}
    for trial in trials:
        if trial.fit is Fit.PROPOSES and (trial.signal.target in latest or len(latest) < MAX_DECISIONS):
            latest.setdefault(trial.signal.target, trial)
    rows = {row.target: row for row in Workload.objects.filter(name__in=[target.name for target in latest])}
    now = database_now()
    questions = [_question(spec, trial, rows.get(target), now) for target, trial in latest.items()]
    return {one.question.target: one.decision for one in decide(questions)}


def _question(spec: RuleSpec, trial: Trial, workload: Workload | None, now: datetime) -> Question:
    signal = replace(trial.signal, last_seen_at=now, resolved=False, due_at=None, kept_seconds=0.0, deferred_for="")
    return Question.of_signal(signal, (spec,), proposal=trial.proposal, workload=workload)


def _warnings(rule: Rule, spec: RuleSpec, earlier: Sequence[RuleSpec]) -> Iterator[RuleWarning]:
    for name, message in rule.impossibilities().items():
        kind = Warns.NEVER_ALLOWED if name in ("params", "kind") else Warns.NEVER_MATCHES
        yield RuleWarning(kind, message, name)
    if (message := _unmanaged(spec.namespace)) != "":
        yield RuleWarning(Warns.NEVER_ALLOWED, message, "namespace")
    if (first := shadow(spec, earlier)) is not None:
        message = f"The rule {first.name} is tried before, and holds for every signal for which this rule holds."
        yield RuleWarning(Warns.SHADOWED, message)
    ttl = _longest_ttl()
    if spec.for_seconds > ttl:
        message = (
            f"A signal expires {ttl} s after its last report (signal_ttl_seconds), before it has lasted for "
            f"{spec.for_seconds} s. The rule needs a source that reports the problem again within this time."
        )
        yield RuleWarning(Warns.EXPIRES, message, "for_seconds")


def _of_trials(trials: Sequence[Trial]) -> Iterator[RuleWarning]:
    if trials and all(one.fit is Fit.UNMATCHED for one in trials):
        yield RuleWarning(Warns.NO_STORED_SIGNAL, f"The rule matches none of the last {len(trials)} signals.")
    fits = {one.fit for one in trials}
    if Fit.SHADOWED in fits and Fit.PROPOSES not in fits:
        names = ", ".join(sorted({one.details["rule"] for one in trials if one.fit is Fit.SHADOWED}))
        message = f"Of the last {len(trials)} signals, rules that are tried before propose for all that it holds for: "
        yield RuleWarning(Warns.SHADOWED, f"{message}{names}.")


def _unmanaged(namespace: str) -> str:
    """Why the closed loop may act in no namespace that the rule matches; empty if it may in one."""
    if namespace and not is_pattern(namespace) and namespace in PROTECTED_NAMESPACES:
        return f"No action is allowed in the protected namespace {namespace}."
    managed = settings.SMARTOPS_NAMESPACES
    if "*" in managed or any(name_matches(namespace, one) for one in managed):
        return ""
    return f"SmartOps manages no namespace that the rule matches: SMARTOPS_NAMESPACES is {', '.join(managed)}."


def _longest_ttl() -> int:
    found: int | None = GuardrailSetting.objects.aggregate(most=Max("signal_ttl_seconds"))["most"]
    return max(Limits().signal_ttl_seconds, found or 0)
