"""The same bad input on each path that takes it: it is named with its field, and nothing is stored."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from signals.aliases import Alias
from signals.models import Rule, SettingChange, Signal
from signals.types import Kind
from smartops.people.roles import Role
from tests.kit.api import Api, bearer
from tests.kit.forms import errors, page, save
from tests.kit.people import person
from tests.kit.signals import ANOMALY, CAUSE, RCA

pytestmark = pytest.mark.django_db
RULE = {"name": "bad", "source": "anomaly", "symptom": "latency", "action_type": "RESTART", "params": "{}"}
BACKTRACKING = r"(a+)+\1"
LONG = "x" * 65_536
FORM = {
    **RULE, "enabled": "on", "priority": "100", "symptom_match": "equal", "for_seconds": "0", "min_reports": "0",
    "of_reports": "0", "mode": "auto",
}  # fmt: skip
ALIAS = {"pattern": "Tomcat[0-9]+", "kind": "Deployment", "workload": "tomcat", "priority": "1", "enabled": "on"}


def signed_in() -> Client:
    client, user = Client(), person("ana", Role.ADMIN)
    user.is_staff = user.is_superuser = True
    user.save()
    client.force_login(user)
    return client


def by_api(fields: dict[str, str]) -> str:
    answer = bearer("operator").post("/v1/rules/try", RULE | {"params": {}} | fields)
    assert answer.status_code == 422
    return str(answer.json()["detail"])


def by_command(fields: dict[str, str]) -> str:
    with pytest.raises(CommandError) as caught:
        call_command("try_rule", *(f"{name}={value}" for name, value in (RULE | fields).items()))
    return str(caught.value)


def by_console(fields: dict[str, str]) -> str:
    answer = signed_in().post("/console/rules/add/", FORM | fields | {"save": "yes"})
    assert answer.status_code == 422
    return str(answer.content.decode())


def by_admin(fields: dict[str, str]) -> str:
    return json.dumps(errors(save(signed_in(), page(Rule, "add"), **FORM | fields)), ensure_ascii=False)


@pytest.mark.parametrize("path", [by_api, by_command, by_console, by_admin])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "Pod"}, ("Deployment, StatefulSet or DaemonSet", "Pod is not one of the available choices")),
        ({"labels": f'team="{LONG}"'}, ("at most 2048 characters",)),
        ({"labels": f'team=~"{BACKTRACKING}"'.replace("\\", "\\\\")}, ("RE2 has no backreferences",)),
        ({"namespace": f"{BACKTRACKING}"}, ("RE2 has no backreferences",)),
        ({"workload": "(a{1000}){1000}"}, ("invalid repetition size",)),
        ({"symptom": BACKTRACKING, "symptom_match": "pattern"}, ("RE2 has no backreferences",)),
        ({"symptom": LONG}, ("at most",)),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_rule_that_matches_nothing_is_refused_on_each_path(
    fields: dict[str, str], said: tuple[str, ...], path: Callable[[dict[str, str]], str]
) -> None:
    found = path(fields)

    assert any(one in found for one in said), found[-2000:]
    assert not Rule.objects.filter(name="bad").exists()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "Pod"}, "Pod is not one of the available choices"),
        ({"pattern": BACKTRACKING}, "RE2 has no backreferences"),
        ({"pattern": LONG}, "at most 512 characters"),
        ({"pattern": "web", "workload": "api"}, "The aliases form a cycle: web → api, then api → web."),
    ],
    ids=["kind", "backtracking", "long", "cycle"],
)
def test_an_alias_that_stands_for_nothing_is_refused_in_each_form(fields: dict[str, str], said: str) -> None:
    Alias.objects.create(pattern="api", workload="web", kind=Kind.DEPLOYMENT)
    off = Alias.objects.create(pattern="web", workload="api", kind=Kind.DEPLOYMENT, enabled=False)
    client, before = signed_in(), SettingChange.objects.count()

    console = client.post("/console/aliases/add/", ALIAS | fields | {"save": "yes"})
    changed = client.post(f"/console/aliases/{off.pk}/change/", ALIAS | fields | {"save": "yes", "loaded": "x"})
    admin = json.dumps(errors(save(client, page(Alias, "add"), **ALIAS | fields)), ensure_ascii=False)

    assert console.status_code == 422
    assert changed.status_code in (409, 422)
    assert said in console.content.decode()
    assert said in admin
    assert SettingChange.objects.count() == before


@pytest.mark.parametrize("pattern", [BACKTRACKING, LONG, "(a{1000}){1000}"])
def test_a_pattern_that_is_searched_for_is_refused_by_its_name(api: Api, pattern: str) -> None:
    answer = api.get("/v1/aliases/match", pattern=pattern)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "pattern"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"workloadKind": "Pod"}, "workloadKind"),
        ({"workloadKind": LONG}, "workloadKind"),
        ({"workloadKind": 7}, "workloadKind"),
        ({"labels": {"team": LONG}}, "labels.team"),
        ({"labels": {LONG: "shop"}}, "labels"),
        ({"annotations": {"note": LONG}}, "annotations.note"),
        ({"severity": LONG}, "severity"),
        ({"service": LONG}, "service"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else given,
)
def test_a_field_of_a_post_is_refused_by_its_name_and_not_repeated(api: Api, fields: Any, field: str) -> None:
    """Alone, in a post of several, and in a batch, where the others are stored."""
    good = ANOMALY | {"windowId": "good"}
    several = {"observations": [good, ANOMALY | fields]}
    alone = api.post("/v1/signals/anomaly", ANOMALY | fields)
    batch = {"signals": [good, ANOMALY | fields]}
    parts = [api.post("/v1/signals/anomaly", several), api.post("/v1/signals/batch", batch)]

    assert alone.status_code == 422
    assert alone.json()["errors"][0]["field"].startswith(field)
    for answer in parts:
        first, second = answer.json()["items"]
        assert (answer.status_code, first["status"], second["status"]) == (202, 202, 422)
    assert all(len(answer.content) < 80_000 for answer in (alone, *parts))
    assert Signal.objects.count() == 1


def test_the_kind_of_a_cause_is_refused_by_its_name(api: Api) -> None:
    answer = api.post("/v1/signals/rca", RCA | {"rankedCauses": [CAUSE | {"workloadKind": "sts"}]})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "rankedCauses[0].workloadKind"
    assert "Write StatefulSet" in answer.json()["detail"]
