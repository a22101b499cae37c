"""What no browser sends, in every form of some pages. A form is shown again, or what it stores is harmless: it is never
an error of the server."""

import re
from collections.abc import Iterable, Mapping
from html import unescape
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from guardrails.models import GuardrailSetting
from signals.aliases import Alias
from signals.models import Rule
from smartops.models import Passkey
from smartops.people.roles import Place
from tests.kit.people import passkey_of
from tests.kit.placed import rows_at
from tests.smartops.console.scene import an_ordinary_hour, waiting_for_approval

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


def root_and_rows(client: Client) -> Mapping[type[Any], Any]:
    """Signs in who may do everything. Of each model one row; the passkey is of the account. Of what can be restored,
    one is deleted."""
    root = User.objects.create_superuser("root", password=uuid4().hex)
    client.force_login(root)
    passkey_of(root)
    waiting_for_approval(an_ordinary_hour())
    rows_at(Place("default", "gone"), "gone")
    for model in CHANGED.values():
        model._default_manager.filter(namespace="gone").delete()
    return {**rows_at(Place("default", "shop"), "own"), Passkey: Passkey.objects.get()}


def attack(client: Client, addresses: Iterable[tuple[str, str]]) -> set[str]:
    """Returns the names of the pages that have a form in which a person writes. Of each name, one such page is sent."""
    met = set[str]()
    for name, address in addresses:
        if name in met:
            continue
        answer = client.get(address)
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
                    posted = client.post(address, body, "application/x-www-form-urlencoded")
                    transaction.set_rollback(True)
                assert posted.status_code < 500, f"{name} {what}"
    return met


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
