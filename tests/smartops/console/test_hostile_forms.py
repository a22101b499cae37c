"""Every form of the console, with what no browser sends. Those of the admin are in test_hostile_admin.py: they take as
long."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from guardrails.models import Freeze
from orchestrator.models import Action, DecisionRecord, Workload
from signals.models import SettingChange, Signal
from smartops.console.urls import urlpatterns
from smartops.models import Passkey, Token
from tests.smartops.console.hostile import CHANGED, attack, root_and_rows


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


@pytest.mark.django_db
@pytest.mark.usefixtures("fast_hashes")
def test_no_form_of_the_console_makes_an_error_of_the_server(client: Client) -> None:
    met = attack(client, of_the_console(root_and_rows(client)))

    assert met >= {
        *("approve", "freeze", "guardrail-add", "lift", "password", "patch", "rule-change", "token-issue"),
        *("undo", "guardrail-restore", "alias-revert", "settle", "passkey-rename"),
    }
