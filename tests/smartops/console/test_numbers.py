"""Each number that is a link is the number of the rows behind it, on every page, for a person who sees a part."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from html import unescape

import pytest
from django.test import Client
from django.urls import resolve

from orchestrator.models import Action
from signals import actors
from signals.ingest import ingest
from signals.models import Signal
from smartops.console import overview
from smartops.people.roles import Place, Role
from tests.kit.history import rewritable
from tests.kit.people import grant, person
from tests.kit.verbs import requested
from tests.smartops.audit import rows
from tests.smartops.console import crawl
from tests.smartops.console.scene import NAMESPACE, Hour, anomaly

NUMBER = re.compile(r'<a\b[^>]*?href="([^"]+)"[^>]*>\s*(?:<b>)?([\d,]+)(\+?)(?:</b>)?\s')


@pytest.fixture
def vera(client: Client, hour: Hour, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Reads one namespace. In it and in another, there is something of each number of the overview."""
    monkeypatch.setattr("smartops.console.attention.TOO_LONG", timedelta())
    for namespace in (NAMESPACE, "elsewhere"):
        rows.an_action(namespace, "hidden")
    with rewritable():
        for pk in (requested("waits").pk, requested("waits too").pk):
            Action.objects.filter(pk=pk).update(state="awaiting_approval", digest="d", shown={})
    ingest([anomaly(f"waiting-{n}", "resource", 0.94, "w") for n in range(4)], actors.token("agent"))
    Signal.objects.filter(workload="waiting-0").update(reason="TargetUnresolved")
    reader = person("vera")
    grant(reader, Role.VIEWER, Place("default", NAMESPACE))
    client.force_login(reader)
    return client


def fetch(client: Client, address: str) -> tuple[int, str, str]:
    answer = client.get(address)
    return answer.status_code, answer.headers.get("Content-Type", ""), answer.content.decode()


def numbers(client: Client) -> Iterator[tuple[str, str, int, bool]]:
    """The page, the link, the number, and whether there are more."""
    visited, ahead = Counter[str](), ["/console/"]
    while ahead:
        page = ahead.pop(0)
        name = resolve(page.partition("?")[0]).view_name
        if visited[name] == crawl.EACH:
            continue
        visited[name] += 1
        status, kind, text = fetch(client, page)
        if status != 200 or not kind.startswith("text/html"):
            continue
        for link, number, more in NUMBER.findall(text):
            yield page, unescape(link), int(number.replace(",", "")), bool(more)
        links = (unescape(link).partition("#")[0] for link in crawl.LINK.findall(text))
        ahead += [link for link in links if link.startswith("/console/")]


def listed(client: Client, link: str) -> int:
    """The rows of all pages of the list."""
    path, count = link.partition("?")[0], 0
    while link:
        listing = client.get(link).context["listing"]
        count += len(listing.rows)
        link = f"{path}{listing.older}" if listing.older else ""
    return count


def test_a_number_is_that_of_the_rows_behind_its_link(vera: Client) -> None:
    counted, found = dict[str, int](), list(numbers(vera))
    for page, link, number, has_more in found:
        if link not in counted:
            counted[link] = listed(vera, link)
        assert counted[link] > number if has_more else counted[link] == number, f"{page}: {number} of {link}"
    assert {page for page, *_ in found} >= {"/console/"}
    assert len({link for _, link, *_ in found}) > len(overview.NEEDS)


def test_a_number_that_is_not_counted_to_its_end_is_less_than_the_rows(
    vera: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MAX_COUNT", 1)
    _, _, text = fetch(vera, "/console/")
    more = [(unescape(link), int(number)) for link, number, has_more in NUMBER.findall(text) if has_more]

    assert more
    assert all(listed(vera, link) > number for link, number in more)
