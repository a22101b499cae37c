"""What a change of settings that is not saved makes of the inputs of stored decisions.

A decision is evaluated with the settings of its time and the columns that the draft changes, as if they had been in
force since the first decision. So a draft that is equal to the present changes no decision, also after later changes.
The history of settings says what was in force.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, reduce
from operator import or_
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model, Q
from django.db.models.expressions import DatabaseDefault

from guardrails.models import LIMIT_FIELDS, Freeze, GuardrailSetting, freeze_facts, merge_limits
from guardrails.types import FreezeFacts, Inputs, Limits
from guardrails.what_if.types import Doubt, Drafted, Edit
from guardrails.what_if.values import replaced
from signals.mapping import considered, matches
from signals.models import Rule
from signals.names import is_pattern, name_matches
from signals.setting_changes import SettingChange
from signals.types import RuleSpec, SignalFacts, Target

Row = Mapping[str, Any]
SCOPE = ("cluster", "kind", "namespace", "workload")
LATER = 2**62  # the id of a rule that is not saved: it is tried after those of its priority
BEGINNING = datetime.min.replace(tzinfo=UTC)
TARGETS = 10_000  # whose limits are kept in memory
# Limits that no guardrail reads. They say what happens after a decision: a draft of these alone changes none.
AFTERWARDS = frozenset({"stabilization_seconds", "verification_timeout_seconds", "approval_timeout_seconds"})


def edit_of(before: Model | None, after: Model | None) -> Edit:
    """One of them may be missing. The rows are of one model."""
    table = (after or before)._meta.db_table  # type: ignore[union-attr]
    return Edit(table, *(None if row is None else columns_of(row) for row in (before, after)))


def columns_of(row: Model) -> dict[str, Any]:
    """As the history of settings has them, without those that the database sets."""
    values = {field.column: field.value_from_object(row) for field in row._meta.concrete_fields}
    values = {name: value for name, value in values.items() if not isinstance(value, DatabaseDefault)}
    found: dict[str, Any] = json.loads(json.dumps(values, cls=DjangoJSONEncoder))
    return found


@dataclass(frozen=True, slots=True)
class _Period:
    """The rows of a table, by primary key, that were in force from `since` on. `begins`: the row that its first change
    wrote or deleted, as it was before and after."""

    since: datetime
    rows: Mapping[str, Row]
    begins: tuple[Row, ...] = ()


class Timeline:
    """The rows of a recorded table at any time since a moment."""

    def __init__(self, model: type[Model], since: datetime) -> None:
        rows = {str(row.pk): columns_of(row) for row in model._default_manager.all()}
        self._periods: list[_Period] = []
        table = model._meta.db_table
        for change in SettingChange.objects.filter(table_name=table, at__gt=since).order_by("-id").iterator():
            began = tuple(row for row in (change.before, change.after) if row)
            self._periods.append(_Period(change.at, rows, began))
            rows = dict(rows)
            if change.before is None:
                rows.pop(change.key, None)
            else:
                rows[change.key] = change.before
        self._periods.append(_Period(BEGINNING, rows))

    def period(self, moment: datetime) -> int:
        """The number of the period between two changes."""
        for place, one in enumerate(self._periods):
            if one.since <= moment:
                return place
        raise ValueError(f"{moment} is before the beginning")

    def differing(self, covering: Callable[[Row], bool]) -> Iterator[int]:
        """The numbers of the periods that begin with a change of a row that covers a target, and of the first one: in
        all others, the same rows cover it."""
        last = len(self._periods) - 1
        return (place for place, one in enumerate(self._periods) if place == last or any(map(covering, one.begins)))

    def rows(self, period: int) -> Mapping[str, Row]:
        return self._periods[period].rows


class Draft:
    """Applies edits to the inputs of decisions made since a moment."""

    def __init__(self, edits: Iterable[Edit], since: datetime) -> None:
        given, by_table = [one for one in edits if one.before != one.after], dict[str, list[Edit]]()
        for one in given:
            by_table.setdefault(one.table, []).append(one)
        self._limits = by_table.pop(GuardrailSetting._meta.db_table, [])
        self._freezes = by_table.pop(Freeze._meta.db_table, [])
        self._rules = by_table.pop(Rule._meta.db_table, [])
        if by_table:
            raise ValueError(f"no decision depends on {', '.join(by_table)}")
        if self._limits:
            self._settings_of = Timeline(GuardrailSetting, since)
        self._own: list[RuleSpec] = []
        if self._rules:
            self._rules_of = Timeline(Rule, since)
            self._own = [spec for one in self._rules for row in (one.before, one.after) if (spec := _spec(row))]
        scopes = [_scope(row) for one in given for row in (one.before, one.after) if row]
        self.scope = reduce(or_, scopes) if scopes and all(scopes) else Q() if scopes else Q(pk__in=())
        """The condition for the decisions that the draft may change."""
        self._changed_limits = lru_cache(TARGETS)(self._compare)
        self._limits_of = lru_cache(TARGETS)(self._replaced_limits)
        self.concerns = lru_cache(TARGETS)(self._concerns)
        self._enabled = lru_cache(64)(self._enabled_rules)

    def _concerns(self, target: Target) -> bool:
        """Whether the draft may change a decision about a target at any time: one of the limits that apply to it, a
        freeze, or a rule. If it does not, its decisions have the same inputs under the draft, and so the same end."""

        def changes(period: int) -> bool:
            return bool(self._changed_limits(period, target)[0].keys() - AFTERWARDS)

        return (
            any(target.is_in(row) for one in self._freezes for row in (one.before, one.after) if row)
            or any(_may_match(one, target) for one in self._own)
            or bool(self._limits and any(map(changes, self._settings_of.differing(target.is_in))))
        )

    def drafted(self, inputs: Inputs) -> Drafted | None:
        """None if the draft changes nothing of them."""
        target = target_of(inputs)
        limits = self._with_limits(inputs.limits, target, inputs.now) if self._limits else inputs.limits
        freezes = self._with_freezes(inputs, target) if self._freezes else inputs.facts.freezes
        rules, doubt = inputs.rules, None
        if self._rules and inputs.signal is not None and inputs.proposal is None:
            rules, doubt = self._with_rules(inputs.signal, inputs.rules, inputs.now)
        if limits is inputs.limits and (freezes, rules, doubt) == (inputs.facts.freezes, inputs.rules, None):
            return None
        facts = inputs.facts if freezes is inputs.facts.freezes else replaced(inputs.facts, freezes=freezes)
        return Drafted(replaced(inputs, limits=limits, facts=facts, rules=rules), doubt)

    def _with_limits(self, limits: Limits, target: Target, now: datetime) -> Limits:
        return self._limits_of(self._settings_of.period(now), target, limits) or limits

    def _replaced_limits(self, period: int, target: Target, limits: Limits) -> Limits | None:
        """None if they are the same. Decisions on one workload have few different limits."""
        values, sources = self._changed_limits(period, target)
        drafted = replaced(limits, **values, sources={**limits.sources, **sources})
        return None if drafted == limits else drafted

    def _compare(self, period: int, target: Target) -> tuple[Row, Row]:
        """The limits that the edits change for a target, and their sources."""
        unset = dict.fromkeys(LIMIT_FIELDS)  # a version of a row may lack the columns of a later version of SmartOps
        rows = {key: {**unset, **row} for key, row in self._settings_of.rows(period).items()}
        before = merge_limits(filter(target.is_in, rows.values()))
        after = merge_limits(filter(target.is_in, self._edited(rows).values()))
        names = [name for name in LIMIT_FIELDS if getattr(before, name) != getattr(after, name)]
        return {name: getattr(after, name) for name in names}, {name: after.sources[name] for name in names}

    def _edited(self, rows: Mapping[str, Row]) -> dict[str, Row]:
        edited = dict(rows)
        for one in self._limits:
            before, after = one.before, one.after
            if after is None:
                edited.pop(one.key, None)
            elif before is None or any(before[name] != after[name] for name in SCOPE):
                edited.pop(one.key, None)
                edited[f"draft {one.key}"] = after
            else:
                empty = {name: after[name] for name in SCOPE} | dict.fromkeys(LIMIT_FIELDS)
                changed = {name: after[name] for name in LIMIT_FIELDS if after[name] != before[name]}
                edited[one.key] = {**edited.get(one.key, empty), **changed}
        return edited

    def _with_freezes(self, inputs: Inputs, target: Target) -> tuple[FreezeFacts, ...]:
        found = inputs.facts.freezes
        if not inputs.facts.history_loaded:
            return found
        for one in self._freezes:
            if one.before is not None:  # it applies where the freeze was in force
                was = freeze_facts(one.before)
                kept = tuple(f for f in found if (f.scope, f.by, f.reason) != (was.scope, was.by, was.reason))
                if kept == found:
                    continue
                found = kept
            if one.after is not None and one.after["lifted_at"] is None and target.is_in(one.after):
                found = (*found, freeze_facts(one.after))
        return found

    def _with_rules(
        self, signal: SignalFacts, stored: tuple[RuleSpec, ...], now: datetime
    ) -> tuple[tuple[RuleSpec, ...], Doubt | None]:
        if not any(matches(one, signal) for one in self._own):
            return stored, None
        before, after = self._enabled(self._rules_of.period(now))
        known = [(one.id, one.version) for one in considered(signal, before)]
        if known != [(one.id, one.version) for one in stored]:
            return stored, Doubt.RULES_UNKNOWN
        found = considered(signal, after)
        return (stored, None) if found == considered(signal, before) else (found, None)

    def _enabled_rules(self, period: int) -> tuple[Sequence[RuleSpec], Sequence[RuleSpec]]:
        """Without the edits and with them, in the order in which they are tried."""
        rows = self._rules_of.rows(period)
        edited = dict(rows)
        for one in self._rules:
            if one.after is None:
                edited.pop(one.key, None)
            else:
                row = edited.get(one.key, one.after)
                before = one.before or {}
                changed = {name: value for name, value in one.after.items() if value != before.get(name)}
                edited[one.key or "draft"] = {**row, **changed} if one.before is not None else one.after
        return _specs(rows.values()), _specs(edited.values())


def target_of(inputs: Inputs) -> Target:
    if inputs.signal is not None:
        return inputs.signal.target
    assert inputs.proposal is not None, "a decision is about a signal or a proposal"
    return inputs.proposal.target


def _scope(row: Row) -> Q:
    """Of a decision record. A rule may have patterns of names."""
    names = {name: row.get(name, "") for name in SCOPE}
    return Q(**{name: value for name, value in names.items() if value and (name == "kind" or not is_pattern(value))})


def _may_match(rule: RuleSpec, target: Target) -> bool:
    names = name_matches(rule.namespace, target.namespace) and name_matches(rule.workload, target.name)
    return names and rule.kind in ("", target.kind)


def _specs(rows: Iterable[Row]) -> list[RuleSpec]:
    enabled = [row for row in rows if row["enabled"]]
    ordered = sorted(enabled, key=lambda row: (row["priority"], row["id"] or LATER))
    return [spec for row in ordered if (spec := _spec(row))]


def _spec(row: Row | None) -> RuleSpec | None:
    """None for no row, and for one that another version of SmartOps has written."""
    if row is None:
        return None
    fields = {field.column: field.attname for field in Rule._meta.concrete_fields}
    with suppress(ValueError):
        return Rule(**{fields[name]: value for name, value in row.items() if name in fields}).spec
    return None
