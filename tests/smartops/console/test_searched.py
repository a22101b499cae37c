"""A page compares a bounded number of rows, says how far it has searched, and its links pass over no row."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client

from orchestrator.models import Action
from signals.models import Signal
from smartops import queries, scan
from smartops.console import actions, listing, signals
from smartops.people.roles import Place, Role
from tests.kit.api import bearer
from tests.kit.history import rewritable
from tests.kit.people import grant, person
from tests.kit.signals import anomaly, post, root_cause
from tests.kit.visitor import Visitor
from tests.smartops.audit import rows
from tests.smartops.console.test_pages import text

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["few workloads", "many workloads"], autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing.listing, "__defaults__", (3,))
    monkeypatch.setattr(scan, "MAX_COMPARED", 4)
    monkeypatch.setattr(queries, "MAX_PLACES", 1 if request.param == "many workloads" else 100)


@pytest.fixture
def ana() -> User:
    return User.objects.create_superuser("ana")


@pytest.fixture
def admin(client: Client, ana: User) -> Client:
    client.force_login(ana)
    return client


@pytest.fixture
def unrendered(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer has only the context of its page: a walk takes hundreds of pages, and most of their time would be that
    of their templates."""

    def render(_: Any, __: str, context: dict[str, Any]) -> Any:
        answer: Any = HttpResponse()
        answer.context = context
        return answer

    for screen in (actions, signals):
        monkeypatch.setattr(screen, "render", render)


def act(number: int) -> None:
    """One of each kind that a filter distinguishes, at irregular distances."""
    namespace, name = "crm" if number in (3, 4, 17) else "erp", "db" if number % 7 == 2 else f"web-{number % 3}"
    type_ = "SCALE" if number in (1, 2, 14, 19) else "RESTART"
    rows.an_action(namespace, name, rows.NOON + timedelta(seconds=number), type_=type_)


def walk(visitor: Visitor, screen: str, query: str, way: str) -> Iterator[list[Any]]:
    while True:
        found = visitor.get(f"/console/{screen}/{query}").context["listing"]
        yield [row.pk for row in found.rows]
        query = getattr(found, way)
        if not query:
            return


def check(user: User, screen: str, query: str, expected: list[Any]) -> None:
    visitor = Visitor(user)
    pages = list(walk(visitor, screen, query, "older"))
    assert [pk for page in pages for pk in page] == expected
    if expected:
        back = list(walk(visitor, screen, f"{query}&after={expected[-1]}", "newer"))
        assert {pk for page in back for pk in page} >= set(expected[:-1])


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("?type=SCALE", lambda one: one.type == "SCALE"),
        ("?type=PATCH", None),
        ("?namespace=crm", lambda one: one.workload.namespace == "crm"),
        ("?namespace=crm&type=SCALE", None),
        ("?q=db", lambda one: one.workload.name == "db"),
        ("?q=web&type=SCALE", lambda one: "web" in one.workload.name and one.type == "SCALE"),
        ("?q=nothing", None),
        ("?kind=Deployment&state=cancelled", str),
        ("?state=cancelled&type=SCALE", lambda one: one.type == "SCALE"),
        ("?verification=SUCCESS", None),
    ],
)
def test_pages_of_actions_have_every_row_that_matches(
    ana: User, unrendered: None, query: str, matches: Callable[[Action], Any] | None
) -> None:
    """None: no row does."""
    for number in range(20):
        act(number)

    every = Action.objects.select_related("workload").order_by("-pk")
    check(ana, "actions", query, [one.pk for one in every if matches and matches(one)])


def test_pages_have_every_row_that_the_person_may_see(unrendered: None) -> None:
    for number in range(20):
        act(number)
    reader = person("ben")
    grant(reader, Role.VIEWER, Place("default", "crm"))

    every = Action.objects.filter(workload__namespace="crm").order_by("-pk")
    for query in ("?", "?type=RESTART"):
        check(reader, "actions", query, list(every.values_list("pk", flat=True)))
    check(reader, "actions", "?type=SCALE", [])


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("?source=rca", lambda one: one.source == "rca"),
        ("?q=shop", lambda one: "shop" in one.workload),
        ("?q=shop&source=rca", lambda one: "shop" in one.workload and one.source == "rca"),
        ("?kind=Deployment&q=db", lambda one: one.workload == "db"),
        ("?state=open", str),
        ("?state=pending&source=rca", lambda one: one.source == "rca"),
        ("?reason=Frozen", lambda one: one.reason == "Frozen"),
        ("?reason=Frozen&source=anomaly", lambda one: one.reason == "Frozen" and one.source == "anomaly"),
    ],
)
def test_pages_of_signals_have_every_row_that_matches(
    ana: User, unrendered: None, query: str, matches: Callable[[Signal], Any]
) -> None:
    """Also a signal whose name was resolved to one that no problem and no action has."""
    for number in range(14):
        post(root_cause(f"web-{number % 5}", f"cause-{number}") if number in (2, 9) else anomaly("db", f"s-{number}"))
    shown = list(Signal.objects.order_by("-pk"))
    with rewritable():
        Signal.objects.filter(pk__in=[shown[0].pk, shown[7].pk]).update(workload="shop", naming={})
        Signal.objects.filter(pk__in=[shown[1].pk, shown[4].pk, shown[11].pk]).update(reason="Frozen")

    every = Signal.objects.order_by("-pk")
    check(ana, "signals", query, [one.pk for one in every if matches(one)])


def test_a_page_says_how_far_it_has_searched(admin: Client) -> None:
    for number in range(20):
        act(number)

    first = admin.get("/console/actions/?type=PATCH")

    found = first.context["listing"]
    assert (found.unsearched, found.newer) == ("older", "")
    assert found.reached == rows.NOON + timedelta(seconds=15)
    assert "Nothing matches in this part." in text(first)
    assert "Searched back to" in text(first)
    assert "Search further back" in text(first)
    assert "Search further back" not in text(admin.get("/console/actions/"))


def test_the_page_of_a_row_leads_to_the_list_beyond_what_was_compared(admin: Client) -> None:
    for number in range(20):
        act(number)
    newer, own = Action.objects.filter(type="SCALE").order_by("-pk")[:2]

    around = admin.get(f"/console/actions/{own.pk}/?type=SCALE").context["around"]

    assert around.previous == f"/console/actions/{newer.pk}/?type=SCALE"
    assert around.next == f"/console/actions/?type=SCALE&before={own.pk}"


def test_pages_of_the_api_have_every_row_that_matches() -> None:
    for number in range(20):
        act(number)

    assert listed("actions", "type=SCALE") == 4
    assert listed("actions", "workload=db&namespace=erp") == 3
    assert listed("actions", "type=SCALE&limit=1") == 4
    assert listed("actions", "kind=StatefulSet") == 0
    assert listed("actions", "", ["crm"]) == 3


def listed(path: str, query: str, namespaces: list[str] | None = None) -> int:
    """How many rows the pages have, none of them twice."""
    agent, found = bearer(f"agent-{query}-{namespaces}"[:60], namespaces=namespaces or []), list[str]()
    address: str | None = f"/v1/{path}?{query}"
    while address:
        page = agent.get(address).json()
        found += [one["id"] for one in page["items"]]
        address = page["next"] and "{0.path}?{0.query}".format(urlsplit(page["next"]))
    assert len(found) == len(set(found))
    return len(found)
