"""`manage.py try_rule`: what a rule would do with the newest signals, before it is saved."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pydantic
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.forms import model_to_dict

from orchestrator.what_if.rule_trial import try_rule
from signals.invisible import invisible_character
from signals.models import Rule, Signal
from signals.trial import Fit
from smartops import strict_json
from smartops.api.problems import field_name
from smartops.rule_trials import MAX_SIGNALS, RuleBody, RuleTrialView, TriedSignal, field_errors


class Command(BaseCommand):
    help = (
        "Try a rule on stored signals; nothing is saved. The rule is a saved one (--rule), a JSON document (--file), "
        "or fields, which change those of --rule and --file: "
        "try_rule source=rca symptom=memory-leak action_type=RESTART min_probability=0.7"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("fields", nargs="*", metavar="FIELD=VALUE", help="a field of the rule; params is JSON")
        parser.add_argument("--rule", metavar="NAME", help="begin with this saved rule")
        parser.add_argument("--file", type=Path, help="begin with this JSON document, as POST /v1/rules/try takes it")
        parser.add_argument("--signals", type=int, default=200, help="how many of the newest signals (default: 200)")

    def handle(self, *args: Any, **options: Any) -> None:  # noqa: ARG002
        if not 1 <= options["signals"] <= MAX_SIGNALS:
            raise CommandError(f"--signals must be 1 to {MAX_SIGNALS}.")
        document = _saved(options["rule"]) | _read(options["file"]) | dict(map(_field, options["fields"]))
        try:
            rule = RuleBody.model_validate(document).rule()
        except pydantic.ValidationError as error:
            raise CommandError("\n".join(f"{field_name(one['loc'])}: {one['msg']}" for one in error.errors())) from None
        except ValidationError as error:
            raise CommandError("\n".join(f"{one['loc'][0]}: {one['msg']}" for one in field_errors(error))) from None
        rows = Signal.objects.filter(source=rule.source).defer("payload").order_by("-pk")[: options["signals"]]
        result = RuleTrialView.of(try_rule(rule, list(rows)))
        for warning in result.warnings:
            self.stdout.write(f"warning: {f'{warning.field}: ' if warning.field else ''}{warning.message}")
        for one in result.signals:
            if one.fit is not Fit.UNMATCHED:
                self.stdout.write(_line(one))
        counts = ", ".join(f"{count} {fit.replace('_', ' ')}" for fit, count in result.counts.items())
        self.stdout.write(f"{result.examined} signals: {counts}.")


def _saved(name: str | None) -> dict[str, Any]:
    if name is None:
        return {}
    rule = None if invisible_character(name) else Rule.objects.filter(name=name).first()
    if rule is None:
        raise CommandError(f"There is no rule “{name}”.")
    return model_to_dict(rule, fields=RuleBody.model_fields.keys())


def _read(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return strict_json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CommandError(f"{path}: {error}") from None


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise CommandError(f"“{text}” is not FIELD=VALUE.")
    if name != "params":
        return name, value
    try:
        return name, strict_json.loads(value.encode(errors="surrogateescape"))
    except ValueError as error:
        raise CommandError(f"params: {error}") from None


def _line(one: TriedSignal) -> str:
    what = f"{one.last_seen_at:%Y-%m-%d %H:%M:%S} {one.kind} {one.namespace}/{one.workload} “{one.symptom}”: "
    if one.fit is not Fit.PROPOSES or one.proposal is None:
        return f"{what}{one.fit.replace('_', ' ')}. {one.message}"
    if one.decision is None:
        return f"{what}{one.proposal.description}"
    why = f" ({one.decision.reason}: {one.decision.message})" if one.decision.reason else ""
    return f"{what}{one.proposal.description}; now: {one.decision.outcome}{why}"
