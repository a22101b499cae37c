"""Every form of the console and of the admin, with what no browser sends: it is shown again, or what it stores is
harmless. It is never an error of the server."""

import re
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse

from guardrails.models import Freeze, GuardrailSetting
from orchestrator.models import Action, DecisionRecord, Workload
from signals.aliases import Alias
from signals.models import Rule, SettingChange, Signal
from smartops.console.urls import urlpatterns
from smartops.models import Passkey, Token
from smartops.people.roles import Place
from tests.kit.forms import page
from tests.kit.people import passkey_of
from tests.kit.placed import rows_at
from tests.smartops.console.scene import an_ordinary_hour, waiting_for_approval

pytestmark = pytest.mark.django_db
HOSTILE = {
    "NUL": "a\0b",
    "an integer beyond 64 bits": str(2**70),
    "not a number": "NaN",
    "half of a surrogate pair, and controls of direction": "a\ud800b\u202ec\u2066d",
    "a long text": "x" * 100_000,
    "deep JSON": '{"a":' + "[" * 20_000,
    "JSON that PostgreSQL cannot store": r'{"spec": {"replicas": NaN, "\u0000": 1, "\ud800": 1e999}}',
}
ALSO_CHOICES = {"NUL", "an integer beyond 64 bits"}
KEPT = {"csrfmiddlewaretoken", "loaded"}  # with another version of the row, every form is refused at once
CONTROL = re.compile(r"<(input|textarea|select)\b([^>]*)>(.*?)(?=<(?:input|textarea|select|/form)\b)", re.DOTALL)
ATTRIBUTE = re.compile(r"\b(name|type|value)=\"([^\"]*)\"")
OPTION = re.compile(r"<option value=\"([^\"]+)\"")
CHANGED = {"guardrail": GuardrailSetting, "rule": Rule, "alias": Alias}


@pytest.fixture
def root(client: Client, fast_hashes: None) -> Client:
    client.force_login(User.objects.create_superuser("root", password=uuid4().hex))
    return client


@pytest.fixture
def rows(root: Client) -> Mapping[type[Any], Any]:
    """Of each model one; the passkey is of the account. Of what can be restored, one is deleted."""
    passkey_of(User.objects.get(username="root"))
    waiting_for_approval(an_ordinary_hour())
    rows_at(Place("default", "gone"), "gone")
    for model in CHANGED.values():
        model._default_manager.filter(namespace="gone").delete()
    return {**rows_at(Place("default", "shop"), "own"), Passkey: Passkey.objects.get()}


def of_the_console(rows: Mapping[type[Any], Any]) -> Iterator[tuple[str, str]]:
    """Of each page: its name, and an address of each row that it may be about."""
    workload = rows[Workload]
    target = {name: getattr(workload, name) for name in ("cluster", "kind", "namespace", "name")}
    own = {**CHANGED, "lift": Freeze, "token": Token, "signal": Signal, "decision": DecisionRecord, "passkey": Passkey}
    for pattern in urlpatterns:
        name, given = str(pattern.name), pattern.pattern.converters
        part, _, act = name.partition("-")
        model = own.get(part, Action)
        pks = [rows[model].pk] if part in own else Action.objects.values_list("pk", flat=True)
        changes = SettingChange.objects.filter(table_name=model._meta.db_table).order_by("-pk")
        changes = changes.filter(operation="delete") if act == "restore" else changes.filter(key=str(pks[0]))
        for pk in pks if "pk" in given else [None]:
            found = {"pk": pk, "type_": "SCALE", **target}
            for change in changes if "change" in given else [None]:
                found["change"] = change and change.pk
                yield name, reverse(f"console:{name}", kwargs={one: found[one] for one in given})


def of_the_admin(rows: Mapping[type[Any], Any]) -> Iterator[tuple[str, str]]:
    for model in admin.site._registry:
        yield f"{model._meta.label} add", page(model, "add")
        if row := model._default_manager.first():
            yield f"{model._meta.label} change", page(model, "change", row.pk)


def forms(text: str) -> dict[str, tuple[bool, str]]:
    """Of each field of the forms of a page: whether a person writes text into it, and its value; of a choice the last
    one."""
    found: dict[str, tuple[bool, str]] = {}
    for tag, attributes, inner in CONTROL.findall(text.partition("<main")[2] or text):
        has = dict(ATTRIBUTE.findall(attributes))
        written = tag == "textarea" or (tag == "input" and has.get("type") in ("text", "number", "password", "email"))
        value = (OPTION.findall(inner) or [""])[-1] if tag == "select" else has.get("value", "on")
        if "name" in has and has.get("type") != "submit":
            found[has["name"]] = written, "" if written else unescape(value)
    return found


@pytest.mark.parametrize(
    ("addresses", "some"),
    [
        (
            of_the_console,
            {
                *("approve", "freeze", "guardrail-add", "lift", "password", "patch", "rule-change", "token-issue"),
                *("undo", "guardrail-restore", "alias-revert", "settle", "passkey-rename"),
            },
        ),
        (of_the_admin, {"guardrails.Freeze add", "smartops.RoleGrant change"}),
    ],
    ids=["console", "admin"],
)
def test_no_form_makes_an_error_of_the_server(
    root: Client, rows: Mapping[type[Any], Any], addresses: Callable[..., Iterator[tuple[str, str]]], some: set[str]
) -> None:
    """`some` of the forms that are to be met."""
    met = set[str]()
    for name, address in addresses(rows):
        if name in met:
            continue
        answer = root.get(address)
        fields = forms(answer.content.decode()) if answer.status_code == 200 else {}
        if not any(written for written, _ in fields.values()):
            continue
        met.add(name)
        for what, hostile in HOSTILE.items():
            for all_fields in (False, True) if what in ALSO_CHOICES else (False,):
                data = {
                    one: hostile if written or (all_fields and one not in KEPT) else value
                    for one, (written, value) in fields.items()
                }
                with transaction.atomic():
                    body = urlencode(data, errors="surrogatepass")
                    posted = root.post(address, body, "application/x-www-form-urlencoded")
                    transaction.set_rollback(True)
                assert posted.status_code < 500, f"{name} {what}"

    assert some <= met
