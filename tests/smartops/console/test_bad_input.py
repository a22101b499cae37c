"""What no page has and no browser sends: addresses and forms that are refused, and never an error of the server."""

from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from django.test import Client

from guardrails.models import Freeze
from orchestrator.models import Action, Workload
from smartops.people.access import Role
from tests.kit.people import person

pytestmark = pytest.mark.django_db

WEB = "/console/workloads/default/Deployment/shop/"
MOMENT = 1_750_000_000_000_000  # microseconds since 1970


@pytest.fixture
def ana(client: Client) -> Client:
    client.force_login(person("ana", Role.ADMIN))
    return client


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/console/freeze/?cluster=%00&namespace=%00&kind=%00", 200),
        ("/console/freeze/held/?namespace=%00&workload=%00", 200),
        (f"{WEB}a%00b/", 404),
        (f"{WEB}a%00b/hold/", 404),
        ("/console/workloads/%00/Deployment/shop/web/", 404),
        (f"{WEB}{'a' * 300}/scale/", 404),
        (f"{WEB}A_B/scale/", 404),
        ("/console/audit/?since=0001-01-01T00:00", 200),
        ("/console/audit/?until=9999-12-31T23:59:59", 200),
        (f"/console/audit/?before={MOMENT}.60.{UUID(int=1)}", 200),  # of a source with numbers
        (f"/console/audit/?before={MOMENT}.70.{2**200}", 200),  # of a source with UUIDs
        (f"/console/audit/?before={-MOMENT}.70.{UUID(int=1)}", 200),
        (f"/console/audit/?before={253_402_300_799_999_999}.60.1", 200),  # the last microsecond that there is
    ],
)
def test_an_address_that_names_nothing(ana: Client, address: str, status: int) -> None:
    assert ana.get(address).status_code == status


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        (f"{WEB}web/patch/", {"patch": "[" * 100_000}),
        (f"{WEB}web/patch/", {"patch": '{"a":' * 50 + "1" + "}" * 50}),
        (f"{WEB}web/patch/", {"patch": r'{"spec":{"template":{"metadata":{"annotations":{"a":"\u0000"}}}}}'}),
        (f"{WEB}web/patch/", {"patch": r'{"spec":{"template":{"metadata":{"annotations":{"a":"\ud800"}}}}}'}),
        ("/console/freeze/", {"cluster": "\0", "namespace": "shop", "lasts": "1h", "reason": "x"}),
        ("/console/freeze/", {"namespace": "\0", "lasts": "1h", "reason": "x"}),
        ("/console/freeze/", {"namespace": "shop", "kind": "\0", "lasts": "1h", "reason": "x"}),
    ],
)
def test_a_form_that_no_browser_sends_is_shown_again_and_changes_nothing(
    ana: Client, address: str, fields: dict[str, Any]
) -> None:
    assert ana.post(address, fields).status_code == 422
    assert not any(rows.objects.exists() for rows in (Action, Workload, Freeze))


@pytest.mark.parametrize(
    "back", ["/console/\r\nX: y", "/console/\u202e", "//elsewhere.example/", "javascript:alert(1)"]
)
def test_an_act_leads_back_to_a_page_of_the_console_only(ana: Client, back: str) -> None:
    row = Freeze.objects.create(namespace="shop", reason="a release", by="user:ana")

    address = f"/console/freezes/{row.pk}/lift/?back={quote(back)}"
    answer = ana.post(address, {"reason": "It is over."}, headers={"HX-Request": "true"})

    assert answer.headers["HX-Redirect"] == "/console/"
