"""Each number of rows is a link to exactly these rows, on every page, for a person who sees a part."""

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser

import pytest
from django.test import Client
from django.urls import resolve

from guardrails.models import Freeze
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

# What numbers may say that are no links: they count no rows of a list. No other number may be left on a page.
A_TIME = r"[+-]?[\d.]+ (ms|s|min|h|d|seconds|minutes?|hours?|days)\b"
QUANTITIES = (
    A_TIME,
    r"(score|probability|confidence)( at least)? [\d.]+",
    r"(seen )?\d+ times?\b",  # how often it was reported; a repeated report is no row
    r"[Aa]t (most|least) \d+ replicas?( (added|removed))?",
    r"[Aa]t most \d+ (actions of each type|scalings|restarts|patches) per hour",
    r"\b\d+ (used|left)\b",  # of a limit, which counts by its own rules
    r"^\d+ of \d+$",  # approvals; the page of the row names who gave them
    r"\d+ (person|people) must approve|Required \d+ approvals?",
    r"([Pp]riority|[Vv]ersion|[Gg]eneration|Attempts) \d+",
    r"Generation observed / written \d+ / \d+",
    r"(Desired|Ready|Available|Updated|Before) \d+",  # replicas
    r"\d+ before; \S+ desired, \S+ updated, \S+ ready, \S+ available",
    r"\d+ (proposes|shadowed|waits|below threshold|unmatched)",  # computed for the page, and shown on it
)
DOCUMENTED = {"console:reasons"}  # constant texts
HIDDEN = {"script", "style", "svg", "title", "select", "datalist", "textarea"}
NAMED = {"a", "button", "summary", "time", "code", "bdi", "pre"}  # links, acts, disclosures, times, and given texts
CLASSES = {"helptext", "numbers"}  # constant texts; the parts of a number that is a link, at the head of their column
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"}
INLINE = {"b", "dd", "dt", "i", "small", "span"}
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
    Signal.objects.filter(workload="waiting-0").update(reason="TargetUnidentified")
    Signal.objects.filter(workload__in=("waiting-1", "waiting-2")).update(reason="Frozen")
    for held in ({}, {"workload": "waiting-2"}):
        Freeze.objects.create(cluster="default", namespace=NAMESPACE, reason="an incident", by="user:ana", **held)
    reader = person("vera")
    grant(reader, Role.OPERATOR, Place("default", NAMESPACE))
    client.force_login(reader)
    return client


def fetch(client: Client, address: str) -> tuple[int, str, str]:
    answer = client.get(address)
    return answer.status_code, answer.headers.get("Content-Type", ""), answer.content.decode()


def pages(client: Client) -> Iterator[tuple[str, str, str]]:
    """The name, the address and the text of each page that links lead to."""
    visited, ahead = defaultdict[str, set[str]](set), ["/console/"]
    while ahead:
        page = ahead.pop(0)
        name = resolve(page.partition("?")[0]).view_name
        if len(visited[name]) == crawl.EACH or page in visited[name]:
            continue
        visited[name].add(page)
        status, kind, text = fetch(client, page)
        if status != 200 or not kind.startswith("text/html"):
            continue
        yield name, page, text
        links = (unescape(link).partition("#")[0] for link in crawl.LINK.findall(text))
        ahead += [link for link in links if link.startswith("/console/")]


def numbers(page: str) -> Iterator[tuple[str, int, bool]]:
    """The link, the number, and whether there are more."""
    for link, number, more in NUMBER.findall(page):
        yield unescape(link), int(number.replace(",", "")), bool(more)


class Plain(HTMLParser):
    """`texts`: of each element, without what cannot be a number of rows."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.texts = list[tuple[str, bool]](), [""]
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        classes = set((dict(attrs).get("class") or "").split())
        if tag not in VOID:
            self.open.append((tag, tag in HIDDEN | NAMED or not CLASSES.isdisjoint(classes)))
        self._divide(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop()[0] != tag:
            pass
        self._divide(tag)

    def handle_data(self, data: str) -> None:
        if not any(left_out for _, left_out in self.open):
            self.texts[-1] += data

    def _divide(self, tag: str) -> None:
        self.texts += [""] if tag not in INLINE | NAMED else []
        self.texts[-1] += " "


def unlinked(page: str) -> list[str]:
    """The texts with a number that is neither a link nor a quantity."""
    texts = (" ".join(text.split()) for text in Plain(page).texts)
    return [text for text in texts if re.search(r"\d", re.sub("|".join(QUANTITIES), "", text))]


def listed(client: Client, link: str) -> int:
    """The rows of all pages of the list."""
    path, count = link.partition("?")[0], 0
    while link:
        listing = client.get(link).context["listing"]
        count += len(listing.rows)
        link = f"{path}{listing.older}" if listing.older else ""
    return count


def test_a_number_is_that_of_the_rows_behind_its_link(vera: Client) -> None:
    counted, named, plain = dict[str, int](), set[str](), list[str]()
    for name, page, text in pages(vera):
        for link, number, has_more in numbers(text):
            if link not in counted:
                counted[link] = listed(vera, link)
            assert counted[link] > number if has_more else counted[link] == number, f"{page}: {number} of {link}"
            named.add(name)
        plain += [f"{page}: {one}" for one in unlinked(text) if name not in DOCUMENTED]
    assert named >= {f"console:{name}" for name in ("overview", "rules", "aliases", "freeze", "held", "lift")}
    assert len(counted) > len(overview.NEEDS)
    assert not plain, "numbers that are no links"


def test_a_number_that_is_not_counted_to_its_end_is_less_than_the_rows(
    vera: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MAX_COUNT", 1)
    _, _, text = fetch(vera, "/console/")
    more = [(link, number) for link, number, has_more in numbers(text) if has_more]

    assert more
    assert all(listed(vera, link) > number for link, number in more)
