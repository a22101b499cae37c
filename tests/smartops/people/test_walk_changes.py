"""Rows that the admin makes and changes: only where the person has the right."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from signals.aliases import Alias
from signals.models import Rule
from smartops.models import RoleGrant, Token
from smartops.people.access import Right, access_of
from smartops.people.roles import EVERYWHERE, Place, Role
from tests.kit.forms import page
from tests.kit.people import grant, person
from tests.kit.visitor import text_of
from tests.smartops.people.walk import AWAY, OWN, VAULT, World

CHANGEABLE = [GuardrailSetting, Freeze, Cooldown, Rule, Alias]
FIELDS: dict[Any, dict[str, Any]] = {
    GuardrailSetting: {"max_replicas": 5, "change_reason": "x"},
    Freeze: {"reason": "y", "change_reason": "x"},
    Cooldown: {"action_type": "RESTART", "kind": "Deployment", "until_0": "2126-01-01", "until_1": "00:00"},
    Rule: {"name": "new", "source": "anomaly", "symptom": "x", "symptom_match": "equal", "action_type": "RESTART"},
    Alias: {"pattern": "z", "kind": "Deployment", "workload": "web"},
    Token: {"name": "new", "scopes": ["read"]},
}


@pytest.mark.parametrize("model", FIELDS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("place", [VAULT, AWAY, Place("default"), EVERYWHERE], ids=str)
def test_nobody_makes_a_row_outside_of_the_own_places(world: World, signed_in: Any, model: Any, place: Place) -> None:
    """Also if one exists there: the answer does not contain its name."""
    visitor = signed_in(Role.ADMIN, OWN)
    before = model.objects.count()
    form = {"cluster": place.cluster, "namespace": place.namespace, "namespaces": place.namespace, "everything": "on"}
    answer = visitor.post(page(model, "add"), {"priority": 1, "params": "{}", **FIELDS[model], **form})
    assert answer.status_code == 200
    errors = answer.context_data["adminform"].form.errors
    assert "Your account has no right to" in json.dumps(errors)
    assert "already exists" not in json.dumps(errors)
    assert model.objects.count() == before


@pytest.mark.parametrize("model", [*CHANGEABLE, Token, RoleGrant], ids=lambda one: one.__name__)
def test_a_row_that_is_only_seen_is_not_changed(world: World, signed_in: Any, model: Any) -> None:
    visitor = signed_in(Role.VIEWER, EVERYWHERE)
    grant(visitor.user, Role.ADMIN, VAULT)
    row = world[OWN][model]
    for part in ("change", "delete"):
        answer = visitor.post(page(model, part, row.pk), {"post": "yes", "loaded": "x", **FIELDS.get(model, {})})
        assert answer.status_code in (302, 403), (model, part)
    row.refresh_from_db()
    chosen = {"action": "delete_chosen", "_selected_action": [row.pk]}
    visitor.post(page(model, "changelist"), chosen)
    assert model.objects.filter(pk=row.pk).exists()


def test_an_act_on_several_rows_leaves_out_those_without_the_right(world: World, signed_in: Any) -> None:
    visitor = signed_in(Role.VIEWER, EVERYWHERE)
    grant(visitor.user, Role.OPERATOR, VAULT)
    mine, other = (world[place][Freeze] for place in (VAULT, OWN))
    chosen = {"action": "lift_chosen", "_selected_action": [mine.pk, other.pk]}
    asked = text_of(visitor.post(page(Freeze, "changelist"), chosen))
    assert "your account has no right to change it" in asked
    loaded = re.findall(r'name="loaded" value="(.+?)"', asked)
    assert [one.partition(":")[0] for one in loaded] == [str(mine.pk)]
    forged = {**chosen, "select_across": "1", "loaded": [*loaded, f"{other.pk}:x"], "change_reason": "over"}
    visitor.post(page(Freeze, "changelist"), forged)
    assert Freeze.objects.get(pk=mine.pk).lifted_at
    assert not Freeze.objects.get(pk=other.pk).lifted_at


def test_a_namespaced_administrator_grants_roles_there_and_nowhere_else(world: World, signed_in: Any) -> None:
    visitor, rita = signed_in(Role.ADMIN, OWN), person("rita")
    form = {"role": "approver", "user": rita.pk}
    assert visitor.post(page(RoleGrant, "add"), form).status_code == 200
    assert visitor.post(page(RoleGrant, "add"), {**form, "cluster": "default", "namespace": "shop"}).status_code == 302
    assert access_of(rita).may(Right.APPROVE, "default", "shop")
    assert not access_of(rita).may(Right.APPROVE)
    for url in (page(User, "add"), page(Group, "add"), page(User, "password_change", rita.pk)):
        assert visitor.get(url).status_code == 403
    saved = visitor.post(page(User, "change", rita.pk), {"username": "rita", "is_superuser": "on"})
    assert saved.status_code == 403
    assert not User.objects.get(pk=rita.pk).is_superuser
