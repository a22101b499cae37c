"""The rules: the list in the order in which they are tried, one rule with its trial and versions, and its form."""

import json
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone

from guardrails.types import Outcome
from guardrails.words import lasting
from orchestrator.decide.rule_trial import RuleTrial, try_rule
from orchestrator.models import DecisionRecord
from signals import actors
from signals.lib.partitions import first_id
from signals.models import Rule, Signal
from signals.proposals import PROPOSAL_TYPES
from signals.trial import Fit
from signals.types import ActionType, Source
from smartops.admin.rules import RuleForm
from smartops.console import deletions, filters, listing, tuning, versions
from smartops.console.pages import ConsoleRequest, act, page
from smartops.console.tuned import Tuned
from smartops.people.access import Right
from smartops.scan import Scan, id_at

TRIED, SHOWN = 200, 20  # signals of a trial, and those that are shown
TRIED_SINCE = timedelta(days=30)
ORDER = ("priority", "pk")
COUNTED = 5000  # decisions, the newest
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
    used = _used(request)
    context = {
        "listing": found,
        "rows": [(row, describe(row), used.get(actors.rule(row.name), (0, 0))) for row in found.rows],
        "counted": COUNTED,
        "may_tune": request.access.has(Right.TUNE),
    }
    return render(request, "console/rules.html", context)


def describe(row: Rule) -> str:
    if row.action_type not in ActionType.__members__:
        return str(row.action_type)
    proposal = PROPOSAL_TYPES[ActionType(row.action_type)]
    return str(row.action_type) if proposal.problem(row.params) else proposal.describe(row.params)


def _used(request: ConsoleRequest) -> dict[str, tuple[int, int]]:
    """By the actor: proposals and actions among the newest decisions, of those that the person may see."""
    earlier = id_at(DecisionRecord.objects.order_by("-pk"), COUNTED)
    newest = DecisionRecord.objects.filter(**{"pk__gt": earlier[0]} if earlier else {})
    counted = newest.filter(request.access.visible(), requested_by__startswith="rule:")
    found: dict[str, tuple[int, int]] = {}
    for actor, outcome, count in counted.order_by().values_list("requested_by", "outcome").annotate(Count("pk")):
        proposals, actions = found.get(actor, (0, 0))
        found[actor] = (proposals + count, actions + (count if outcome == Outcome.ALLOW else 0))
    return found


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
