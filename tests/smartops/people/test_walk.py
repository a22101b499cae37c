"""Every page, operation and list, for each role in each place: nobody sees or changes what is elsewhere.

The pages are those of the URL configuration, of the admin's registry and of the API. One that is not in the tables of
this file fails it.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.parse import quote
from uuid import UUID

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from guardrails.models import Cooldown, Freeze, GuardrailSetting
from orchestrator.models import Action, DecisionRecord, Workload, transitions
from signals import actors
from signals.aliases import Alias
from signals.models import Rule, Signal
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from smartops.api.root import api
from smartops.console import feed, topics
from smartops.console.freshness import freshness, visible_to
from smartops.console.live import Changed, Page
from smartops.models import RoleGrant, SecondFactor, SignIn, Token
from smartops.people.access import Right, access_of
from smartops.people.roles import EVERYWHERE, RIGHTS, Place, Role
from smartops.people.scopes import SCOPES
from smartops.tokens import Scope, issue
from tests.kit.forms import page
from tests.kit.people import grant, person
from tests.kit.placed import rows_at
from tests.kit.verbs import propose
from tests.smartops.console.scene import RECONCILER, deployment, reconciled

OWN, VAULT, AWAY = Place("default", "shop"), Place("default", "vaultmark"), Place("awaymark", "shop")
MARKS = {OWN: "ownmark", VAULT: "vaultmark", AWAY: "awaymark"}
SCOPES_OF_PEOPLE = (OWN, Place("default"), Place("", "shop"), EVERYWHERE)
PEOPLE = [(role, place) for role in Role for place in SCOPES_OF_PEOPLE]
NOBODY = "99999999"
ADMIN_ONLY = {Token, RoleGrant, User, Group, SignIn, SecondFactor}
FOR_ALL = {SignIn, SecondFactor}


class Waiting:
    """The key of an action that waits for an approval."""

    objects = Action.objects


# Of each page that is no page of a model: the parameters of its path, as a model whose id it takes, or a model and one
# of its columns.
TARGET = {name: (Workload, name) for name in ("cluster", "kind", "namespace", "name")}
EDITED: Mapping[str, Any] = {"guardrail": GuardrailSetting, "rule": Rule, "alias": Alias}
PAGES: Mapping[str, Mapping[str, Any]] = {
    **{f"console:{name}-deleted": {} for name in EDITED},
    "console:overview": {},
    "console:actions": {},
    "console:approvals": {},
    "console:approval": {"pk": Waiting},
    "console:signals": {},
    "console:signal": {"pk": Signal},
    "console:workloads": {},
    "console:workload": TARGET,
    "console:reasons": {},
    "console:guardrails": {},
    "console:guardrail": {"pk": GuardrailSetting},
    "console:rules": {},
    "console:rule": {"pk": Rule},
    "console:aliases": {},
    "console:alias": {"pk": Alias},
    "console:decision": {"pk": DecisionRecord},
    "console:audit": {},
    "console:held": {},
    "console:action": {"pk": Action},
}
# What a POST of an export sends.
EXPORTS: Mapping[str, Mapping[str, Any]] = {
    "console:audit-export": {"format": "jsonl"},
}
# Of each act: the parameters of its path, and the right that it takes.
ACTS: Mapping[str, tuple[Mapping[str, Any], Right]] = {
    "console:settle": ({"pk": Action}, Right.ACT),
    "console:cancel": ({"pk": Action}, Right.ACT),
    "console:retry": ({"pk": Action}, Right.ACT),
    "console:approve": ({"pk": Waiting}, Right.APPROVE),
    "console:reject": ({"pk": Waiting}, Right.APPROVE),
    "console:rehearse": ({"pk": Waiting}, Right.APPROVE),
    "console:run": ({"pk": Action}, Right.ACT),
    "console:undo": ({"pk": Action}, Right.ACT),
    **{f"console:{type_.lower()}": (TARGET, Right.ACT) for type_ in ActionType},
    "console:hold": (TARGET, Right.ACT),
    "console:clear-cooldown": ({**TARGET, "type_": "SCALE"}, Right.ACT),
    "console:lift": ({"pk": Freeze}, Right.ACT),
    "console:freeze": ({}, Right.ACT),
    "console:seen": ({"pk": Action}, Right.ACT),
    "console:preview": ({}, Right.READ),
    **{
        f"console:{name}-{act}": ({"pk": model}, Right.TUNE)
        for name, model in EDITED.items()
        for act in ("change", "delete", "enable", "disable")
        if name != "guardrail" or act in ("change", "delete")
    },
    **{f"console:{name}-add": ({}, Right.TUNE) for name in EDITED},
    **{f"console:{name}-restore": ({"change": 1}, Right.TUNE) for name in EDITED},
    **{f"console:{name}-revert": ({"pk": model, "change": 1}, Right.TUNE) for name, model in EDITED.items()},
    "console:tokens": ({}, Right.ADMINISTER),
    "console:token-issue": ({}, Right.ADMINISTER),
    "console:token-revoke": ({"pk": Token}, Right.ADMINISTER),
}
FOR_ALL_PLACES = {"console:tokens", "console:token-issue", "console:token-revoke"}
# Without data of a place.
OPEN = {
    "admin:index", "admin:login", "admin:logout", "admin:password_change", "admin:password_change_done",
    "oidc-start", "oidc-callback", "console:password", "console:second-factor", "second-step",
    "admin:autocomplete", "admin:jsi18n", "admin:view_on_site", "admin:app_list", "admin:None",
    "v1:openapi-json", "v1:api-root", "None",
}  # fmt: skip
PARTS = ("changelist", "add", "history", "delete", "change")
# Of each operation: the scope of a token that it takes.
OPERATIONS = {
    ("post", "/v1/signals/anomaly"): Scope.SIGNALS_WRITE,
}


@dataclass(frozen=True)
class World:
    rows: Mapping[Place, Mapping[type[Any], Any]] = field(hash=False)


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    with django_db_blocker.unblock(), transaction.atomic():
        made = World({place: {**rows_at(place, mark), Waiting: waiting(place, mark)} for place, mark in MARKS.items()})
        SignIn.objects.create(event="signed in", actor="user:vaultmark")
        GuardrailSetting.objects.create(max_replicas=7)
        yield made
        transaction.set_rollback(True)


class Nothing(dict[Any, Any]):
    """Rows that do not exist."""

    def __missing__(self, model: Any) -> Any:
        pk = 7_000_000 if model in (Freeze, *EDITED.values()) else UUID(int=7)
        return SimpleNamespace(pk=pk, cluster="c", namespace="n", kind="Deployment", name="nothing")


NOTHING = Nothing()


def path_of(rows: Mapping[Any, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, one in parameters.items():
        found[key] = rows[one].pk if isinstance(one, type) else one
        if isinstance(one, tuple):
            found[key] = getattr(rows[one[0]], one[1])
    return found


def addresses(
    world: "World", pages: Iterable[tuple[str, Mapping[str, Any]]]
) -> Iterator[tuple[str, str, Place, Mapping[str, Any]]]:
    """The name, address, place and parameters of each page, once: one without parameters is the same in all places."""
    for name, parameters in pages:
        known: set[str] = set()
        for place, rows in world.rows.items():
            url = reverse(name, kwargs=path_of(rows, parameters))
            if url not in known:
                known.add(url)
                yield name, url, place, parameters


def waiting(place: Place, mark: str) -> Action:
    target = Target(place.cluster, place.namespace, f"{mark}-batch")
    workload = Workload.objects.create(
        cluster=place.cluster, namespace=place.namespace, name=target.name, kind="Deployment"
    )
    action = propose(Proposal(ActionType.SCALE, target, Origin.DIRECT, {"replicas": 4}), workload, actors.token("ops"))
    live, change = deployment(target.name, 2, place.namespace), {"replicas": 4}
    plan = transitions.planned(action, live, change, 2)
    shown: dict[str, Any] = {"uid": live.uid, "generation": live.generation, "change": change}
    shown |= {"before": plan["before_image"], "after": plan["after_image"], "rule": None, "rule_version": None}
    asks = transitions.Asks(
        {**shown, "limits": {"approvals_required": 1}}, "8f14e45f", Reason.APPROVAL_REQUIRED, f"{mark} asks", {}, 1800
    )
    transitions.store([transitions.ask(action, plan, asks, RECONCILER)])
    return action


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


def visible(place: Place, scope: Place) -> bool:
    return scope.contains(place.cluster, place.namespace)


def test_every_page_is_in_a_table() -> None:
    operation_names = {f"v1:{one['operationId']}" for one in operations().values()}
    assert {*names()} - pages_of_models() - operation_names - OPEN == {*PAGES, *EXPORTS, *ACTS}


def test_every_model_of_the_admin_says_who_may_see_and_change_its_rows() -> None:
    assert {*admin.site._registry} == SCOPES.keys()


@pytest.fixture
def signed_in(world: World, db: None) -> Any:
    def sign_in(role: Role | None, place: Place) -> Client:
        client = Client(raise_request_exception=True)
        client.force_login(person("walker", role, place, is_staff=True))
        return client

    return sign_in


def forbidden(scope: Place) -> list[str]:
    return [mark for place, mark in MARKS.items() if not visible(place, scope)]


def read(client: Client, url: str, scope: Place, search: str = "") -> Any:
    """The page repeats its address, and what the person searches for."""
    answer = client.get(url, {"q": search} if search else None)
    text = answer.content.decode().replace(f'value="{search}"', "")
    text = re.sub(f"q(=|%3D){quote(search, safe='')}|{quote(quote(search, safe=''))}", "", text)
    for mark in (one for one in forbidden(scope) if one not in url):
        assert mark not in text, (url, mark, text[max(0, text.find(mark) - 300) : text.find(mark) + 100])
    return answer


def opens(model: Any, role: Role, scope: Place) -> bool:
    administers = Right.ADMINISTER in RIGHTS[role]
    return model not in ADMIN_ONLY or (administers and (model not in FOR_ALL or scope == EVERYWHERE))


@pytest.mark.parametrize(("role", "scope"), PEOPLE, ids=str)
def test_the_lists_of_the_admin_have_what_the_role_allows(
    world: World, signed_in: Any, role: Role, scope: Place
) -> None:
    client = signed_in(role, scope)
    access = access_of(User.objects.get(username="walker"))
    read(client, reverse("admin:index"), scope)
    for model in admin.site._registry:
        listed = read(client, page(model, "changelist"), scope)
        assert listed.status_code == (200 if opens(model, role, scope) else 403), model
        may_add = SCOPES[model].may_change(access) and model not in (Action, SecondFactor)
        assert read(client, page(model, "add"), scope).status_code == (200 if may_add else 403), model
        for place, rows in world.rows.items():
            if model in rows and listed.status_code == 200 and seen(model, place, scope):
                assert rows[model] in listed.context["cl"].queryset, (model, place)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ADMIN])
@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE, ids=str)
def test_a_row_that_may_not_be_seen_is_answered_as_one_that_does_not_exist(
    world: World, signed_in: Any, role: Role, scope: Place
) -> None:
    client = signed_in(role, scope)
    for model in admin.site._registry:
        for place, rows in world.rows.items():
            if model not in rows or not opens(model, role, scope):
                continue
            if seen(model, place, scope):
                assert client.get(page(model, "change", rows[model].pk)).status_code == 200
                continue
            for part in ("change", "history", "delete"):
                answer = read(client, page(model, part, rows[model].pk), scope)
                other = client.get(page(model, part, _missing(rows[model])))
                found = (answer.status_code, answer.headers.get("Location"))
                assert found == (other.status_code, other.headers.get("Location")), (model, part)
                assert answer.status_code in (302, 403)


@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE[:3], ids=str)
def test_a_search_finds_nothing_elsewhere(world: World, signed_in: Any, scope: Place) -> None:
    client = signed_in(Role.ADMIN, scope)
    for model in admin.site._registry:
        if opens(model, Role.ADMIN, scope):
            for mark in forbidden(scope):
                read(client, page(model, "changelist"), scope, mark)
                read(client, page(model, "changelist"), scope, f"{mark}/")


def seen(model: Any, place: Place, scope: Place) -> bool:
    """A token is for all clusters, and so is a rule: it affects each of them."""
    if model is Rule:
        return scope.overlaps("", place.namespace)
    return visible(place, scope) and (model is not Token or not scope.cluster)


def _missing(row: Any) -> Any:
    return UUID(int=7) if isinstance(row.pk, UUID) else NOBODY


@pytest.mark.parametrize(("role", "scope"), [*PEOPLE, (None, EVERYWHERE)], ids=str)
def test_the_console_shows_only_what_the_role_allows(
    world: World, signed_in: Any, role: Role | None, scope: Place
) -> None:
    client = signed_in(role, scope)
    for name, url, place, parameters in addresses(world, PAGES.items()):
        answer = read(client, url, scope)
        if role is None:
            assert answer.status_code in (302, 403)
        elif all(seen(model, place, scope) for model in parameters.values()):
            assert answer.status_code == 200, (name, place)
        else:
            assert answer.status_code == 404
    if role:
        for name, parameters in PAGES.items():
            if parameters:
                missing = reverse(name, kwargs=path_of(NOTHING, parameters))
                assert read(client, missing, scope).status_code == 404


@pytest.mark.parametrize(("role", "scope"), [*PEOPLE, (None, EVERYWHERE)], ids=str)
def test_an_act_takes_its_right_in_its_place(world: World, signed_in: Any, role: Role | None, scope: Place) -> None:
    client = signed_in(role, scope)
    pages = ((name, parameters) for name, (parameters, _) in ACTS.items())
    for name, url, place, parameters in addresses(world, pages):
        rows, right = world.rows[place], ACTS[name][1]
        before = _stored(rows, parameters)
        # A refusal to htmx is a status without a page.
        answers = {"get": read(client, url, scope), "post": client.post(url, headers={"HX-Request": "true"})}
        for method, answer in answers.items():
            if answer.status_code == 405:  # a page
                continue
            if role is None or right not in RIGHTS[role] or (name in FOR_ALL_PLACES and scope != EVERYWHERE):
                assert answer.status_code == 403, (name, method, place)
                assert _stored(rows, parameters) == before
            elif not all(seen(model, place, scope) for model in parameters.values()):
                assert answer.status_code == 404, (name, method, place)
                assert _stored(rows, parameters) == before
            elif Rule in parameters.values() and scope.cluster:
                assert answer.status_code in (403, 404), "a rule is for all clusters"
            elif name == "console:freeze" and method == "post" and scope != EVERYWHERE:
                assert answer.status_code == 403, "an empty scope is everything"
            else:  # 404: the row has no such act
                assert answer.status_code != 403, (name, method, place)


def _stored(rows: Mapping[type[Any], Any], parameters: Mapping[str, Any]) -> list[Any]:
    found: list[Any] = [one for one in parameters.values() if isinstance(one, type)]
    return [one.objects.filter(pk=rows[one].pk).values().get() for one in found]


@pytest.mark.parametrize("name", [name for name, (parameters, _) in ACTS.items() if parameters])
def test_an_act_on_a_row_that_is_only_seen_is_refused(world: World, signed_in: Any, name: str) -> None:
    parameters, right = ACTS[name]
    client = signed_in(Role.VIEWER, EVERYWHERE)
    role = next(role for role in (Role.OPERATOR, Role.APPROVER, Role.ADMIN) if right in RIGHTS[role])
    grant(User.objects.get(username="walker"), role, VAULT)
    url = reverse(name, kwargs=path_of(world.rows[OWN], parameters))
    refused = {403, 404} if "change" in parameters else {403}  # no change of the row has this number
    assert {client.get(url).status_code, client.post(url).status_code} <= refused


@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE, ids=str)
def test_an_export_has_only_what_the_role_allows(world: World, signed_in: Any, scope: Place) -> None:
    client = signed_in(Role.VIEWER, scope)
    for name, form in EXPORTS.items():
        text = _content(client.post(reverse(name), form))
        assert "ownmark" in text
        assert not [mark for mark in forbidden(scope) if mark in text], name


def _content(answer: Any) -> str:
    async def pieces() -> bytes:
        return b"".join([piece async for piece in answer.streaming_content])

    return async_to_sync(pieces)().decode()


def test_without_a_session_every_page_leads_to_the_sign_in_page(world: World, db: None) -> None:
    for name, parameters in PAGES.items():
        url = reverse(name, kwargs=path_of(world.rows[OWN], parameters))
        assert Client().get(url).headers["Location"].startswith("/admin/login/?next=")
    for model in admin.site._registry:
        assert Client().get(page(model, "changelist")).headers["Location"].startswith("/admin/login/?next=")


def open_pages(rows: Mapping[Any, Any]) -> dict[str, Page]:
    """By the name of its URL, each page that may have a websocket, as the socket takes its address."""
    found: dict[str, Page] = {}
    for name, parameters in {**PAGES, **{name: parameters for name, (parameters, _) in ACTS.items()}}.items():
        page_ = Page.at(reverse(name, kwargs=path_of(rows, parameters)))
        assert page_
        found[name] = page_
    return found


@pytest.mark.parametrize(("role", "scope"), PEOPLE, ids=str)
def test_a_socket_sends_only_what_the_role_allows(world: World, signed_in: Any, role: Role, scope: Place) -> None:
    signed_in(role, scope)
    access = access_of(User.objects.get(username="walker"))
    assert {f"console:{name}" for name in topics.SCREENS} <= PAGES.keys()
    pages = {page_: name for rows in world.rows.values() for name, page_ in open_pages(rows).items()}
    for place, rows in world.rows.items():
        burst = Changed({("action", str(rows[Action].pk)), ("signal", str(rows[Signal].pk))})
        sent = {page_: topics.update(page_, access, burst) for page_ in pages}
        if not visible(place, scope):
            assert [pages[page_] for page_, update in sent.items() if update] == [], place
            continue
        for name in topics.SCREENS.keys() - {"workloads", "workload"}:
            page_ = open_pages(rows)[f"console:{name}"]
            assert sent[page_], (name, place)
    everything = {("signal", str(rows[Signal].pk)) for rows in world.rows.values()}
    everything |= {("action", str(rows[model].pk)) for rows in world.rows.values() for model in (Action, Waiting)}
    everything |= {(model, "") for model in ("workload", "setting")}
    hidden = {
        str(rows[one].pk) for at, rows in world.rows.items() if not visible(at, scope) for one in (Action, Signal)
    }
    for burst in (Changed({one for one in everything if one[1]}), Changed(everything), Changed(None)):
        for page_, name in pages.items():
            if update := topics.update(page_, access, burst):
                assert no_mark_of(scope, update.content), name
                assert not [row for row in update.rows if row.partition("-")[2] in hidden], name


def no_mark_of(scope: Place, text: str) -> bool:
    return not [mark for mark in forbidden(scope) if mark in text]


@pytest.mark.parametrize("scope", SCOPES_OF_PEOPLE, ids=str)
def test_a_socket_says_nothing_of_the_reconcilers_of_other_clusters(world: World, signed_in: Any, scope: Place) -> None:
    signed_in(Role.VIEWER, scope)
    access = access_of(User.objects.get(username="walker"))
    for place in world.rows:
        reconciled(ago=timedelta(hours=1), cluster=place.cluster)
    said = feed._age(visible_to(access, freshness()), heartbeats=True)
    assert ("awaymark" in said) is visible(AWAY, scope)
    assert "default" in said


CHANGEABLE = [GuardrailSetting, Freeze, Cooldown, Rule, Alias]
FIELDS: dict[Any, dict[str, Any]] = {
    GuardrailSetting: {"max_replicas": 5, "change_reason": "x"},
    Freeze: {"reason": "y", "change_reason": "x"},
    Cooldown: {"action_type": "RESTART", "kind": "Deployment", "until_0": "2126-01-01", "until_1": "00:00"},
    Rule: {"name": "new", "source": "anomaly", "symptom": "x", "symptom_match": "equal", "action_type": "RESTART"},
    Alias: {"pattern": "z", "kind": "Deployment", "workload": "web"},
    Token: {"name": "new", "scopes": ["read"]},
}


@pytest.mark.parametrize("model", FIELDS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("place", [VAULT, AWAY, Place("default"), EVERYWHERE], ids=str)
def test_nobody_makes_a_row_outside_of_the_own_places(world: World, signed_in: Any, model: Any, place: Place) -> None:
    """Also if one exists there: its name is not told."""
    client = signed_in(Role.ADMIN, OWN)
    before = model.objects.count()
    form = {"cluster": place.cluster, "namespace": place.namespace, "namespaces": place.namespace, "everything": "on"}
    answer = client.post(page(model, "add"), {"priority": 1, "params": "{}", **FIELDS[model], **form})
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert "Your account has no right to" in json.dumps(errors)
    assert "already exists" not in json.dumps(errors)
    assert model.objects.count() == before


@pytest.mark.parametrize("model", [*CHANGEABLE, Token, RoleGrant], ids=lambda one: one.__name__)
def test_a_row_that_is_only_seen_is_not_changed(world: World, signed_in: Any, model: Any) -> None:
    client = signed_in(Role.VIEWER, EVERYWHERE)
    grant(User.objects.get(username="walker"), Role.ADMIN, VAULT)
    row = world.rows[OWN][model]
    for part in ("change", "delete"):
        answer = client.post(page(model, part, row.pk), {"post": "yes", "loaded": "x", **FIELDS.get(model, {})})
        assert answer.status_code in (302, 403), (model, part)
    row.refresh_from_db()
    chosen = {"action": "delete_chosen", "_selected_action": [row.pk]}
    client.post(page(model, "changelist"), chosen)
    assert model.objects.filter(pk=row.pk).exists()


def test_an_act_on_several_rows_leaves_out_those_without_the_right(world: World, signed_in: Any) -> None:
    client = signed_in(Role.VIEWER, EVERYWHERE)
    grant(User.objects.get(username="walker"), Role.OPERATOR, VAULT)
    mine, other = (world.rows[place][Freeze] for place in (VAULT, OWN))
    chosen = {"action": "lift_chosen", "_selected_action": [mine.pk, other.pk]}
    asked = client.post(page(Freeze, "changelist"), chosen).content.decode()
    assert "your account has no right to change it" in asked
    loaded = re.findall(r'name="loaded" value="(.+?)"', asked)
    assert [one.partition(":")[0] for one in loaded] == [str(mine.pk)]
    forged = {**chosen, "select_across": "1", "loaded": [*loaded, f"{other.pk}:x"], "change_reason": "over"}
    client.post(page(Freeze, "changelist"), forged)
    assert Freeze.objects.get(pk=mine.pk).lifted_at
    assert not Freeze.objects.get(pk=other.pk).lifted_at


def test_a_namespaced_administrator_grants_roles_there_and_nowhere_else(world: World, signed_in: Any) -> None:
    client, rita = signed_in(Role.ADMIN, OWN), person("rita")
    form = {"role": "approver", "user": rita.pk}
    assert client.post(page(RoleGrant, "add"), form).status_code == 200
    assert client.post(page(RoleGrant, "add"), {**form, "cluster": "default", "namespace": "shop"}).status_code == 302
    assert access_of(rita).may(Right.APPROVE, "default", "shop")
    assert not access_of(rita).may(Right.APPROVE)
    for url in (page(User, "add"), page(Group, "add"), page(User, "password_change", rita.pk)):
        assert client.get(url).status_code == 403
    saved = client.post(page(User, "change", rita.pk), {"username": "rita", "is_superuser": "on"})
    assert saved.status_code == 403
    assert not User.objects.get(pk=rita.pk).is_superuser


class Rejected:
    """Of a token with all scopes."""

    ACTS: ClassVar = re.compile("approv|reject|vote", re.IGNORECASE)


def test_no_token_carries_the_right_to_approve(world: World, db: None) -> None:
    """No scope is about approvals, no operation changes one, and pages for people take no token."""
    assert not [scope for scope in Scope if Rejected.ACTS.search(scope)]
    writes = [(method, path) for method, path in operations() if method != "get"]
    assert not [path for _, path in writes if Rejected.ACTS.search(path)]
    bearer = {"Authorization": f"Bearer {issue('robot', Scope)}"}
    for name, parameters in PAGES.items():
        url = reverse(name, kwargs=path_of(world.rows[OWN], parameters))
        for answer in (Client().get(url, headers=bearer), Client().post(url, headers=bearer)):
            assert answer.status_code in (302, 405)


def test_no_session_is_taken_for_a_token(world: World, signed_in: Any) -> None:
    client = signed_in(Role.ADMIN, EVERYWHERE)
    for method, path in operations():
        url = re.sub(r"{\w+}", str(UUID(int=7)), path)
        answer = client.generic(method.upper(), url, "{}", content_type="application/json")
        assert answer.status_code == 401, (method, path)
