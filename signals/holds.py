"""For which further reports a decision on a signal holds: they are counted on the closed signal, and not decided again.
Pure. docs/adr/0041-a-ledger-of-problems-and-windows.md has the argument.

A hold is a JSON object: `settings`, the version of the settings at the decision; `within`, for each of score,
probability and confidence the interval `[at least, below]` of the reports that it holds for, with null for no bound, or
null if they lack the value; `until`, when it ends, in ISO 8601; `target`, a digest of what the decision used of the
target. The last two are of orchestrator/decide/hold.py; an ignored signal has no `target`. A deferred signal has
`within` alone. `signals_fire` evaluates it for each report.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from signals.mapping import conditions_missed
from signals.types import MEASURES, MINIMA, RuleSpec, SignalFacts

Hold = Mapping[str, Any]
Interval = list[float | None] | None

# What all reports of one problem have in common: a rule that asks for something else matches none of them.
IDENTITY = {"source", "symptom", "kind", "namespace", "workload"}
# The fields of a rule that give the same result for all reports of one problem, or beyond an interval.
KNOWN = IDENTITY | {*MINIMA}
KNOWN |= {"id", "version", "name", "action_type", "params", "symptom_match"}


def hold(signal: SignalFacts, rules: Iterable[RuleSpec], settings: int) -> Hold | None:
    """None: the next report is decided on, as it may lead to another result. `rules`: all that are enabled."""
    relevant = _relevant(signal, rules)
    if signal.naming is not None or any(map(_has_other_conditions, relevant)):
        return None
    return {"settings": settings, **_within(signal, relevant)}


def until_it_differs(signal: SignalFacts, rules: Iterable[RuleSpec]) -> Hold:
    """Of a deferred signal, which is decided on again when its deferral ends. A report beyond the intervals makes it
    due at once, as another rule may hold for it."""
    return _within(signal, _relevant(signal, rules))


def _relevant(signal: SignalFacts, rules: Iterable[RuleSpec]) -> list[RuleSpec]:
    return [rule for rule in rules if not IDENTITY & conditions_missed(rule, signal).keys()]


def _within(signal: SignalFacts, rules: Iterable[RuleSpec]) -> Hold:
    limits = {name: [getattr(rule, f"min_{name}") for rule in rules] for name in MEASURES}
    return {"within": {name: _interval(getattr(signal, name), limits[name]) for name in MEASURES}}


def _interval(value: float | None, limits: Iterable[float | None]) -> Interval:
    """Every comparison of a value in it with one of the limits has the same result."""
    if value is None:
        return None
    known = [limit for limit in limits if limit is not None]
    met, missed = [one for one in known if one <= value], [one for one in known if one > value]
    return [max(met, default=None), min(missed, default=None)]


def _has_other_conditions(rule: RuleSpec) -> bool:
    """Labels, durations, numbers of reports: conditions whose result may differ between two reports of one problem."""
    return any(getattr(rule, one.name) != _default(one) for one in fields(rule) if one.name not in KNOWN)


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()
