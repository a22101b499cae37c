"""Every list and row of the admin, for each role in each place: nobody sees what is elsewhere."""

from functools import cache
from typing import Any
from uuid import UUID

import pytest
from django.contrib import admin

from orchestrator.models import Action
from smartops.people.access import access_of
from smartops.people.roles import Place, Role
from smartops.people.scopes import SCOPES
from tests.kit.forms import page
from tests.smartops.people.walk import OWNED, PEOPLE, SCOPES_OF_PEOPLE, World, forbidden, is_read, opens, read, seen

NOBODY = "99999999"


def test_every_model_of_the_admin_says_who_may_see_and_change_its_rows() -> None:
    assert {*admin.site._registry} == SCOPES.keys()


@pytest.mark.parametrize(("role", "scope"), PEOPLE, ids=str)
def test_the_lists_of_the_admin_have_what_the_role_allows(
    world: World, signed_in: Any, role: Role, scope: Place
) -> None:
    visitor = signed_in(role, scope)
    access = access_of(visitor.user)
    get = (lambda url: read(visitor, url, scope)) if is_read(role, scope) else visitor.get
    get("/admin/")
    for model in admin.site._registry:
        may_add = SCOPES[model].may_change(access) and model not in {Action, *OWNED}
        assert get(page(model, "add")).status_code == (200 if may_add else 403), model
        listed = get(page(model, "changelist"))
        assert listed.status_code == (200 if opens(model, role, scope) else 403), model
        if listed.status_code == 200:
            found = {*listed.context_data["cl"].queryset.values_list("pk", flat=True)}
            for place, rows in world.items():
                if model in rows:
                    assert (rows[model].pk in found) == seen(model, place, scope), (model, place)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ADMIN])
@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE, ids=str)
def test_a_row_that_may_not_be_seen_is_answered_as_one_that_does_not_exist(
    world: World, signed_in: Any, role: Role, scope: Place
) -> None:
    visitor = signed_in(role, scope)

    @cache
    def of_nothing(model: Any, part: str, pk: Any) -> Any:
        return answered(visitor.get(page(model, part, pk)))

    for model in admin.site._registry:
        for place, rows in world.items():
            if model not in rows or not opens(model, role, scope):
                continue
            if seen(model, place, scope):
                assert visitor.get(page(model, "change", rows[model].pk)).status_code == 200
                continue
            for part in ("change", "history", "delete"):
                answer = read(visitor, page(model, part, rows[model].pk), scope)
                nothing = UUID(int=7) if isinstance(rows[model].pk, UUID) else NOBODY
                assert answered(answer) == of_nothing(model, part, nothing), (model, part)
                assert answer.status_code in (302, 403)


def answered(answer: Any) -> Any:
    return answer.status_code, answer.headers.get("Location")


@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE[:3], ids=str)
def test_a_search_finds_nothing_elsewhere(world: World, signed_in: Any, scope: Place) -> None:
    visitor = signed_in(Role.ADMIN, scope)
    for model in admin.site._registry:
        if opens(model, Role.ADMIN, scope):
            for mark in forbidden(scope):
                read(visitor, page(model, "changelist"), scope, mark)
                read(visitor, page(model, "changelist"), scope, f"{mark}/")
