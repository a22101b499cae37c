"""What an open page is sent, for each role in each place: nothing of what is elsewhere."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from orchestrator.models import Action
from signals.models import Signal
from smartops.console import feed, topics
from smartops.console.freshness import freshness, visible_to
from smartops.console.live import Changed, Page
from smartops.people.access import access_of
from smartops.people.roles import Place, Role
from tests.smartops.console.scene import reconciled
from tests.smartops.people.walk import (
    ACTS,
    AWAY,
    PAGES,
    PEOPLE,
    SCOPES_OF_PEOPLE,
    Waiting,
    World,
    forbidden,
    is_read,
    path_of,
    visible,
)


def open_pages(rows: Mapping[Any, Any]) -> dict[str, Page]:
    """By the name of its URL, each page that may have a websocket, as the socket takes its address."""
    found: dict[str, Page] = {}
    for name, parameters in {**PAGES, **{name: parameters for name, (parameters, _) in ACTS.items()}}.items():
        page_ = Page.at(reverse(name, kwargs=path_of(rows, parameters)))
        assert page_
        found[name] = page_
    return found


def all_pages(world: World) -> dict[Page, str]:
    return {page_: name for rows in world.values() for name, page_ in open_pages(rows).items()}


@pytest.mark.parametrize(("role", "scope"), PEOPLE, ids=str)
def test_a_socket_sends_only_what_the_role_allows(world: World, signed_in: Any, role: Role, scope: Place) -> None:
    access = access_of(signed_in(role, scope).user)
    assert {f"console:{name}" for name in topics.SCREENS} <= PAGES.keys()
    pages = all_pages(world)
    for place, rows in world.items():
        burst = Changed({("action", str(rows[Action].pk)), ("signal", str(rows[Signal].pk))})
        sent = {page_: topics.update(page_, access, burst) for page_ in pages}
        if not visible(place, scope):
            assert [pages[page_] for page_, update in sent.items() if update] == [], place
            continue
        for name in topics.SCREENS.keys() - {"workloads", "workload"}:
            page_ = open_pages(rows)[f"console:{name}"]
            assert sent[page_], (name, place)


@pytest.mark.parametrize(("role", "scope"), [one for one in PEOPLE if is_read(*one)], ids=str)
def test_what_a_socket_sends_has_nothing_of_other_places(
    world: World, signed_in: Any, role: Role, scope: Place
) -> None:
    access = access_of(signed_in(role, scope).user)
    pages = all_pages(world)
    everything = {("signal", str(rows[Signal].pk)) for rows in world.values()}
    everything |= {("action", str(rows[model].pk)) for rows in world.values() for model in (Action, Waiting)}
    everything |= {(model, "") for model in ("workload", "setting")}
    hidden = {str(rows[one].pk) for at, rows in world.items() if not visible(at, scope) for one in (Action, Signal)}
    for burst in (Changed({one for one in everything if one[1]}), Changed(everything), Changed(None)):
        for page_, name in pages.items():
            if update := topics.update(page_, access, burst):
                assert no_mark_of(scope, update.content), name
                assert not [row for row in update.rows if row.partition("-")[2] in hidden], name


def no_mark_of(scope: Place, text: str) -> bool:
    return not [mark for mark in forbidden(scope) if mark in text]


@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE, ids=str)
def test_a_socket_says_nothing_of_the_reconcilers_of_other_clusters(world: World, signed_in: Any, scope: Place) -> None:
    access = access_of(signed_in(Role.VIEWER, scope).user)
    for place in world:
        reconciled(ago=timedelta(hours=1), cluster=place.cluster)
    said = feed._age(visible_to(access, freshness()), heartbeats=True)
    assert ("awaymark" in said) is visible(AWAY, scope)
    assert "default" in said
