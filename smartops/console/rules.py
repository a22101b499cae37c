"""The rules: the list in the order in which they are tried, one rule with its trial and versions, and its form."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.db.models import Count, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from guardrails.words import lasting
from orchestrator.models import AuditEvent, DecisionRecord
from orchestrator.what_if.rule_trial import RuleTrial, try_rule
from signals import actors
from signals.lib.partitions import first_id, time_of
from signals.models import Rule, Signal
from signals.proposals import PROPOSAL_TYPES
from signals.trial import Fit
from signals.types import ActionType, Source
from smartops.admin.rules import RuleForm
from smartops.audit import sources as audit
from smartops.console import deletions, filters, listing, tuning, versions
from smartops.console.pages import ConsoleRequest, act, page
from smartops.console.tuned import Tuned
from smartops.people.access import Access, Right
from smartops.scan import Scan, id_at

TRIED, SHOWN = 200, 20  # signals of a trial, and those that are shown
TRIED_SINCE = timedelta(days=30)
ORDER = ("priority", "pk")
COUNTED = 5000  # decisions, and transitions of actions, the newest
COUNTED_OF = {audit.Decisions(): "decision", audit.Transitions(): "action"}  # a rule makes the first transition only
FIELDS = (
    *("name", "enabled", "priority", "source", "symptom_match", "symptom", "severity", "labels"),
    *("kind", "namespace", "workload", "min_score", "min_probability", "min_confidence"),
    *("for_seconds", "min_reports", "of_reports", "action_type", "params", "mode"),
)


def trial(request: ConsoleRequest, row: Rule) -> Mapping[str, Any]:
    """What the rule would make of the newest signals of a month that the person may see."""
    since = first_id(timezone.now() - TRIED_SINCE)
    recent = Signal.objects.filter(pk__gte=since)
    signals = recent.filter(request.access.visible(), source=row.source).defer("payload")
    found: RuleTrial = try_rule(row, Scan(signals, recent, compares=True).read(TRIED).rows)
    fits = Counter(one.trial.fit for one in found.tried)
    matching = sorted(found.tried, key=lambda one: list(Fit).index(one.trial.fit))
    return {
        "trial": found,
        "fits": [(fit.replace("_", " "), fits[fit]) for fit in Fit],
        "tried": [one for one in matching if one.trial.fit is not Fit.UNMATCHED][:SHOWN],
    }


RULES = Tuned(
    model=Rule,
    form=RuleForm,
    fields=FIELDS,
    name="rule",
    screen="rules",
    facts=trial,
)


class RuleFilter(filters.Filter):
    q = filters.search()
    source = filters.choice("source", "All sources", [(one.value, one.value) for one in Source], label="Source")
    type = filters.choice("action_type", "All types", [(one.value, one.value) for one in ActionType], label="Type")
    enabled = filters.choice("enabled", "All", [("True", "Enabled"), ("False", "Disabled")], label="Enabled")
    namespace = filters.namespace()

    def search(self, rows: "QuerySet[Rule]", _: str, text: str) -> "QuerySet[Rule]":
        """A part of the name or of the symptom."""
        return rows.filter(name__icontains=text) | rows.filter(symptom__icontains=text)


@page
def rules(request: ConsoleRequest) -> HttpResponse:
    found = listing.named(request, RuleFilter, Rule.objects.filter(RULES.visible(request.access)), ORDER)
    since = _since()
    context = {
        "listing": found,
        "rows": list(zip(found.rows, map(describe, found.rows), _used(request, found.rows, since), strict=True)),
        "since": since,
        "may_tune": request.access.has(Right.TUNE),
    }
    return render(request, "console/rules.html", context)


def describe(row: Rule) -> str:
    if row.action_type not in ActionType.__members__:
        return str(row.action_type)
    proposal = PROPOSAL_TYPES[ActionType(row.action_type)]
    return str(row.action_type) if proposal.problem(row.params) else proposal.describe(row.params)


def _since() -> datetime | None:
    """From when on decisions and transitions are counted, a whole second; None: all of them."""
    before = [time_of(pk) for pk in id_at(DecisionRecord.objects.order_by("-pk"), COUNTED)]
    before += AuditEvent.objects.order_by("-at", "-pk").values_list("at", flat=True)[COUNTED : COUNTED + 1]
    return max(before).replace(microsecond=0) + timedelta(seconds=1) if before else None


def _used(request: ConsoleRequest, rows: Sequence[Rule], since: datetime | None) -> list[list[tuple[int, str, str]]]:
    """Of each rule: how many decisions on its proposals and how many of its actions the person may see, as (number,
    word, address of these entries of the audit)."""
    counts = [(source, word, _by_rule(source, request.access, since)) for source, word in COUNTED_OF.items()]
    return [
        [(numbers.get(actor, 0), word, _entries(source, actor, since)) for source, word, numbers in counts]
        for actor in (actors.rule(row.name) for row in rows)
    ]


def _by_rule(source: audit.Source, access: Access, since: datetime | None) -> dict[str, int]:
    rows = source.model._default_manager.filter(source.visible(access), source.between(since, None))
    rules = rows.filter(**{f"{source.actor}__startswith": f"{actors.ActorKind.RULE}:"})
    return dict(rules.order_by().values_list(source.actor).annotate(Count("pk")))


def _entries(source: audit.Source, actor: str, since: datetime | None) -> str:
    query = {"kind": source.kinds[0], "actor": actor} | ({"since": f"{since:%Y-%m-%dT%H:%M:%S}"} if since else {})
    return f"{reverse('console:audit')}?{urlencode(query)}"


@page
def rule(request: ConsoleRequest, pk: int) -> HttpResponse:
    row = RULES.find(request, pk)
    context = {
        "row": row,
        "around": RULES.around(request, RuleFilter, row, ORDER),
        "action": describe(row),
        "params": json.dumps(row.params, ensure_ascii=False),
        "lasts": lasting(row.for_seconds),
        "versions": versions.newest(request, RULES, row),
        "may_tune": RULES.may_tune(request.access, row),
        **({} if row.mistakes() else trial(request, row)),
    }
    return render(request, "console/rule.html", context)


@act(Right.TUNE)
def add(request: ConsoleRequest) -> HttpResponseBase:
    return tuning.edit(request, RULES)


@act(Right.TUNE)
def change(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return tuning.edit(request, RULES, pk)


@act(Right.TUNE)
def delete(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return versions.delete(request, RULES, pk)


@page
def deleted(request: ConsoleRequest) -> HttpResponse:
    return deletions.deleted(request, RULES)


@act(Right.TUNE)
def restore(request: ConsoleRequest, change: int) -> HttpResponseBase:
    return deletions.restore(request, RULES, change)


@act(Right.TUNE)
def revert(request: ConsoleRequest, pk: int, change: int) -> HttpResponseBase:
    return versions.revert(request, RULES, pk, change)


@act(Right.TUNE)
def enable(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return versions.switch(request, RULES, pk, on=True)


@act(Right.TUNE)
def disable(request: ConsoleRequest, pk: int) -> HttpResponseBase:
    return versions.switch(request, RULES, pk, on=False)
