"""Every page and operation is in a table of the walk. None of them is open without a session or with a token for
something else."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from smartops.api.root import api
from smartops.people.roles import EVERYWHERE, Role
from smartops.people.scopes import SCOPES
from smartops.tokens import Scope, issue
from tests.kit.forms import page
from tests.kit.people import person
from tests.smartops.people.walk import ACTS, EXPORTS, OWN, PAGES, World, path_of

# Without data of a place.
OPEN = {
    "admin:index", "admin:login", "admin:logout", "admin:password_change", "admin:password_change_done",
    "oidc-start", "oidc-callback", "console:password", "second-step",
    "console:second-factor", "console:second-factor-app", "console:second-factor-app-remove", "console:recovery-codes",
    "console:passkey-add", "console:passkey-rename", "console:passkey-remove", "console:sign-out-everywhere",
    "admin:autocomplete", "admin:jsi18n", "admin:view_on_site", "admin:app_list", "admin:None",
    "v1:openapi-json", "v1:api-root", "None",
}  # fmt: skip
PARTS = ("changelist", "add", "history", "delete", "change")
ABOUT_APPROVALS = re.compile("approv|reject|vote", re.IGNORECASE)


def names(patterns: Any = None, namespace: str = "") -> Iterator[str]:
    """Of all pages, as `reverse` takes them."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(one, URLResolver):
            yield from names(one.url_patterns, f"{one.namespace}:" if one.namespace else namespace)
        elif isinstance(one, URLPattern):
            yield f"{namespace}{one.name}"


def pages_of_models() -> set[str]:
    of = {f"admin:{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry}
    return {f"{one}_{part}" for one in of for part in PARTS} | {"admin:auth_user_password_change"}


def operations() -> dict[tuple[str, str], Any]:
    paths: Any = api.get_openapi_schema()["paths"]
    return {(method, path): one for path, found in paths.items() for method, one in found.items()}


def test_every_page_is_in_a_table() -> None:
    operation_names = {f"v1:{one['operationId']}" for one in operations().values()}
    assert {*names()} - pages_of_models() - operation_names - OPEN == {*PAGES, *EXPORTS, *ACTS}


def test_every_model_of_the_admin_says_who_may_see_and_change_its_rows() -> None:
    assert {*admin.site._registry} == SCOPES.keys()


def test_without_a_session_every_page_leads_to_the_sign_in_page(world: World, db: None) -> None:
    for name, parameters in PAGES.items():
        url = reverse(name, kwargs=path_of(world[OWN], parameters))
        assert Client().get(url).headers["Location"].startswith("/admin/login/?next=")
    for model in admin.site._registry:
        assert Client().get(page(model, "changelist")).headers["Location"].startswith("/admin/login/?next=")


def test_no_token_carries_the_right_to_approve(world: World, db: None) -> None:
    """No scope is about approvals, no operation changes one, and pages for people take no token."""
    assert not [scope for scope in Scope if ABOUT_APPROVALS.search(scope)]
    writes = [(method, path) for method, path in operations() if method != "get"]
    assert not [path for _, path in writes if ABOUT_APPROVALS.search(path)]
    bearer = {"Authorization": f"Bearer {issue('robot', Scope)}"}
    for name, parameters in PAGES.items():
        url = reverse(name, kwargs=path_of(world[OWN], parameters))
        for answer in (Client().get(url, headers=bearer), Client().post(url, headers=bearer)):
            assert answer.status_code in (302, 405)


def test_no_session_is_taken_for_a_token(db: None) -> None:
    client = Client(raise_request_exception=True)
    client.force_login(person("walker", Role.ADMIN, EVERYWHERE, is_staff=True))
    for method, path in operations():
        url = re.sub(r"{\w+}", str(UUID(int=7)), path)
        answer = client.generic(method.upper(), url, "{}", content_type="application/json")
        assert answer.status_code == 401, (method, path)
