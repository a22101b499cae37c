"""Rules as operators write them. `signals.mapping` applies them."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import pgtrigger
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q

from signals import queries
from signals.invisible import imitation_problem
from signals.lib import triggers
from signals.matchers import MAX_TEXT as MAX_MATCHERS_TEXT
from signals.patterns import MAX_PATTERN
from signals.proposals import PROPOSAL_TYPES
from signals.proposals.kinds import missing_field, why_missing
from signals.proposals.types import ProposalType
from signals.sources.matching import MAX_REPORTS, condition_mistakes, conditions_never_met
from signals.symptoms import SymptomMatch, symptom_key
from signals.types import MINIMA, ActionType, Kind, Mode, RuleSpec, Source

MAX_ENABLED_RULES = 500  # each is tried on each signal


class Rule(models.Model):
    """Which signal leads to which action. Rules are tried by priority, then age; the first that holds proposes.

    `params`: the JSON object that the proposal type of `action_type` takes (signals/proposals).
    """

    name = models.CharField(max_length=64, unique=True)
    priority = models.PositiveSmallIntegerField(default=100, help_text="Smaller is tried first.")
    enabled = models.BooleanField(default=True)
    source = models.CharField(max_length=32, choices=[(None, "Choose a source"), *((s.value, s.value) for s in Source)])
    symptom = models.CharField(
        max_length=MAX_PATTERN,
        help_text="The anomaly's type, or the cause. Case and separators do not count: memory_leak is Memory Leak.",
    )
    symptom_match = models.CharField(
        max_length=16,
        choices=[(SymptomMatch.EQUAL, "is"), (SymptomMatch.ONE_OF, "is one of"), (SymptomMatch.PATTERN, "matches")],
        default=SymptomMatch.EQUAL,
        db_default=SymptomMatch.EQUAL,
        help_text="Is one of: several, divided by commas. Matches: a regular expression (RE2) for the whole symptom.",
    )
    severity = models.CharField(
        max_length=256,
        blank=True,
        default="",
        db_default="",
        help_text="One or several, divided by commas. Empty: any.",
    )
    labels = models.CharField(
        max_length=MAX_MATCHERS_TEXT,
        blank=True,
        default="",
        db_default="",
        help_text='Matchers as in Alertmanager: team="payments", tier!="test", zone=~"eu-.*". Empty: any.',
    )
    kind = models.CharField(max_length=32, blank=True, choices=[("", "Any kind"), *((k.value, k.value) for k in Kind)])
    namespace = models.CharField(
        max_length=MAX_PATTERN, blank=True, help_text="A name, or a regular expression (RE2): shop-.*. Empty: any."
    )
    workload = models.CharField(
        max_length=MAX_PATTERN,
        blank=True,
        help_text="A name, or a regular expression (RE2): (cart|pay)-.*. Empty: any.",
    )
    min_score = models.FloatField(null=True, blank=True, help_text="From 0 to 1. Empty: any.")
    min_probability = models.FloatField(null=True, blank=True, help_text="From 0 to 1. Empty: any.")
    min_confidence = models.FloatField(null=True, blank=True, help_text="From 0 to 1. Empty: any.")
    for_seconds = models.PositiveIntegerField(
        "for (seconds)",
        default=0,
        db_default=0,
        help_text="How long the problem has to last. Until then, the signal waits; its end cancels it.",
    )
    min_reports = models.PositiveSmallIntegerField(
        "at least (reports)",
        default=0,
        db_default=0,
        help_text="So many of the last reports of the problem have to say that it is there. 0: any number.",
    )
    of_reports = models.PositiveSmallIntegerField(
        "of the last (reports)", default=0, db_default=0, help_text="So many reports of the problem are counted."
    )
    action_type = models.CharField(
        max_length=16, choices=[(None, "Choose a type"), *((t.value, t.value) for t in ActionType)]
    )
    params = models.JSONField(
        "parameters",
        default=dict,
        blank=True,
        help_text='SCALE: {"delta": 1} or {"replicas": 4, "direction": "up"}; RESTART: {}.',
    )
    mode = models.CharField(
        max_length=16,
        choices=[(mode.value, mode.value) for mode in Mode],
        default=Mode.AUTO,
        db_default=Mode.AUTO,
        help_text="Approve: a person decides on each action. Observe: nothing is written. A stricter mode of the scope "
        "in the guardrail settings takes precedence.",
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    checks: ClassVar[list[Callable[["Rule"], str]]] = []
    """What packages above this one find wrong with the parameters of a rule; "" if nothing is."""

    class Meta:
        ordering = ["priority", "id"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="rule_has_name"),  # it is that of an actor
            models.CheckConstraint(
                condition=Q(min_reports__lte=F("of_reports"), of_reports__lte=MAX_REPORTS), name="reports_can_be_met"
            ),
        ]
        triggers = [
            *triggers.recorded(volatile=("updated_at",)),
            # A deferral may have been for the time or the reports that a rule asked for.
            triggers.after(
                "wake_signals", pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete, queries.WAKE_DEFERRED
            ),
            triggers.Unswitched(
                name="next_version",  # decisions name the version they were made by
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                func="NEW.version := OLD.version + 1; RETURN NEW;",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def spec(self) -> RuleSpec:
        """Raises ValueError for a source, kind, match or type of action that does not exist."""
        return RuleSpec(
            id=self.pk or 0,
            version=self.version,
            name=self.name,
            source=Source(self.source),
            symptom=self.symptom,
            action_type=ActionType(self.action_type),
            params=self.params,
            symptom_match=SymptomMatch(self.symptom_match),
            kind=Kind(self.kind) if self.kind else "",
            namespace=self.namespace,
            workload=self.workload,
            severity=self.severity,
            labels=self.labels,
            min_score=self.min_score,
            min_probability=self.min_probability,
            min_confidence=self.min_confidence,
            for_seconds=self.for_seconds,
            min_reports=self.min_reports,
            of_reports=self.of_reports,
            mode=Mode(self.mode),
        )

    def clean(self) -> None:
        problems = self.impossibilities() | self.mistakes()
        if self.enabled and Rule.objects.filter(enabled=True).exclude(pk=self.pk).count() >= MAX_ENABLED_RULES:
            problems["enabled"] = f"At most {MAX_ENABLED_RULES} rules are enabled at a time. Disable another one first."
        if problems:
            raise ValidationError(problems)

    def mistakes(self) -> dict[str, str]:
        """By field: what has to be corrected before it can be said what the rule does."""
        found = {
            name: "It is a number from 0 to 1."
            for name in MINIMA
            if (value := getattr(self, name)) is not None and not 0 <= value <= 1
        }
        if problem := imitation_problem(self.name):  # it is that of an actor
            found["name"] = problem
        known = self.action_type in ActionType.__members__
        if known and (problem := PROPOSAL_TYPES[ActionType(self.action_type)].problem(self.params)):
            found["params"] = problem
        with suppress(ValueError):  # of a field that the form refuses by itself
            found |= condition_mistakes(self.spec)
        return found

    def impossibilities(self) -> dict[str, str]:
        """By field: why the rule matches no signal, or why its action is allowed for no workload."""
        found: dict[str, str] = {}
        with suppress(ValueError):
            found |= conditions_never_met(self.spec)
        if self.action_type in ActionType.__members__:
            proposal_type = PROPOSAL_TYPES[ActionType(self.action_type)]
            if proposal_type.problem(self.params):
                return found
            prefixes = tuple(settings.SMARTOPS_ALLOWED_PATCH_PREFIXES)
            problem = proposal_type.refusal(self.params, prefixes)
            if problem := problem or next(filter(None, (check(self) for check in self.checks)), ""):
                found["params"] = problem
            elif problem := self._unsupported(proposal_type):
                found["kind"] = problem
        return found

    def _unsupported(self, proposal_type: ProposalType) -> str:
        """Why no workload of the kind can take the change. Without a kind, some workload can."""
        field = missing_field(proposal_type, self.params, Kind(self.kind)) if self.kind in set(Kind) else ""
        return field and f"No such workload can be changed in this way: {why_missing(Kind(self.kind), field)}"


def rules_of(version: str) -> tuple[RuleSpec, ...]:
    """The enabled rules of a version (`queries.SELECT_DUE`), in the order in which they are tried."""
    return _loaded(version)[0]


def require_readable(version: str, source: str, symptom: str) -> None:
    """Raises ValueError if a rule that may match such a signal cannot be read."""
    for one in _loaded(version)[1]:
        if one.source == source and one.symptom in ("", symptom_key(symptom)):
            raise one.error


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A rule that another version of SmartOps has written. `symptom`: its key; empty: any."""

    source: str
    symptom: str
    error: ValueError


@lru_cache(maxsize=8)
def _loaded(_version: str) -> tuple[tuple[RuleSpec, ...], tuple[_Unreadable, ...]]:
    """A version never comes back after a change, so what is kept is never too old."""
    rules, unreadable = list[RuleSpec](), list[_Unreadable]()
    for rule in Rule.objects.filter(enabled=True).order_by("priority", "id"):
        try:
            rules.append(rule.spec)
        except ValueError as error:
            symptom = symptom_key(rule.symptom) if rule.symptom_match == SymptomMatch.EQUAL else ""
            unreadable.append(_Unreadable(rule.source, symptom, error))
    return tuple(rules), tuple(unreadable)
