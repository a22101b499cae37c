"""Every page, act and export of the console, for each role in each place: nobody sees or changes what is elsewhere."""

from collections.abc import Mapping
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.urls import reverse

from signals.models import Rule
from smartops.console.pages import DIALOG
from smartops.people.access import Right
from smartops.people.roles import EVERYWHERE, RIGHTS, Place, Role
from tests.kit.people import grant
from tests.smartops.people.walk import (
    ACTS,
    EXPORTS,
    FOR_ALL_PLACES,
    NOTHING,
    OWN,
    PAGES,
    PEOPLE,
    SCOPES_OF_PEOPLE,
    VAULT,
    World,
    addresses,
    answered,
    forbidden,
    path_of,
    read,
    seen,
    status,
)

HTMX = {"HX-Request": "true"}  # a refusal to it is a status without a page
BUTTON = HTMX | {"HX-Target": DIALOG}  # which loads the form of an act
WITHOUT_A_ROLE = (None, EVERYWHERE)


@pytest.mark.parametrize(("role", "scope"), [*PEOPLE, WITHOUT_A_ROLE], ids=str)
def test_the_console_shows_only_what_the_role_allows(
    world: World, signed_in: Any, role: Role | None, scope: Place
) -> None:
    visitor = signed_in(role, scope)
    for name, url, place, parameters in addresses(world, PAGES.items()):
        found = answered(visitor, role, scope, url)
        if role is None:
            assert found == 403
        elif all(seen(model, place, scope) for model in parameters.values()):
            assert found == 200, (name, place)
        else:
            assert found == 404, (name, place)


@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE, ids=str)
def test_a_page_of_nothing_is_answered_as_one_that_may_not_be_seen(world: World, signed_in: Any, scope: Place) -> None:
    visitor = signed_in(Role.VIEWER, scope)
    for name, parameters in PAGES.items():
        if parameters:
            missing = reverse(name, kwargs=path_of(NOTHING, parameters))
            assert read(visitor, missing, scope).status_code == 404, name


@pytest.mark.parametrize(("role", "scope"), [*PEOPLE, WITHOUT_A_ROLE], ids=str)
def test_an_act_takes_its_right_in_its_place(world: World, signed_in: Any, role: Role | None, scope: Place) -> None:
    visitor, before = signed_in(role, scope), stored()
    pages = [(name, parameters) for name, (parameters, _) in ACTS.items()]
    allowed = []

    def tried(method: str, url: str) -> int:
        return answered(visitor, role, scope, url, method, BUTTON if method == "get" else HTMX)

    for name, url, place, _ in addresses(world, pages):
        for method in ("get", "post"):
            if expected := refusals(name, method, place, role, scope):
                assert tried(method, url) in {*expected, 405}, (name, method, place)  # 405: of a page
            else:
                allowed.append((name, method, url))
    assert stored() == before
    for name, method, url in allowed:  # 404: the row has no such act
        assert tried(method, url) != 403, (name, method, url)


def refusals(name: str, method: str, place: Place, role: Role | None, scope: Place) -> set[int]:
    """One of which the act is answered with; none if the person has the right."""
    parameters, right = ACTS[name]
    if role is None or right not in RIGHTS[role] or (name in FOR_ALL_PLACES and scope != EVERYWHERE):
        return {403}
    if not all(seen(model, place, scope) for model in parameters.values()):
        return {404}
    if Rule in parameters.values() and scope.cluster:
        return {403, 404}  # a rule is for all clusters
    if name == "console:freeze" and method == "post" and scope != EVERYWHERE:
        return {403}  # an empty scope is everything
    return set()


def stored() -> Mapping[Any, Any]:
    """The rows that acts change."""
    models = {one for parameters, _ in ACTS.values() for one in parameters.values() if isinstance(one, type)}
    return {model: list(model.objects.order_by("pk").values()) for model in models}  # type: ignore[attr-defined]


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.APPROVER, Role.ADMIN])
def test_an_act_on_a_row_that_is_only_seen_is_refused(world: World, signed_in: Any, role: Role) -> None:
    visitor = signed_in(Role.VIEWER, EVERYWHERE)
    grant(visitor.user, role, VAULT)
    for name, (parameters, right) in ACTS.items():
        if parameters and right in RIGHTS[role] - {Right.READ}:
            url = reverse(name, kwargs=path_of(world[OWN], parameters))
            refused = {403, 404} if "change" in parameters else {403}  # no change of the row has this number
            statuses = {status(visitor, "get", url, BUTTON), status(visitor, "post", url, HTMX)}
            assert statuses <= refused, name


@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE, ids=str)
def test_an_export_has_only_what_the_role_allows(world: World, signed_in: Any, scope: Place) -> None:
    visitor = signed_in(Role.VIEWER, scope)
    for name, form in EXPORTS.items():
        text = content(visitor.post(reverse(name), form))
        assert "ownmark" in text
        assert not [mark for mark in forbidden(scope) if mark in text], name


def content(answer: Any) -> str:
    async def pieces() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return async_to_sync(pieces)().decode()
