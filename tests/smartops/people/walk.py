"""The pages, and who may see and do what: the tables of the tests that walk over every page, operation and list, for
each role in each place.

The pages are those of the URL configuration, of the admin's registry and of the API. test_walk.py fails for one that is
in none of the tables.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from urllib.parse import quote
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User
from django.template import loader
from django.urls import reverse

from guardrails.models import Freeze, GuardrailSetting
from orchestrator.models import Action, DecisionRecord, Workload, transition_store, transitions
from signals import actors
from signals.aliases import Alias
from signals.models import Rule, Signal
from signals.reasons import Reason
from signals.types import ActionType, Origin, Proposal, Target
from smartops.models import Passkey, RoleGrant, SecondFactor, SignIn, Token
from smartops.people.access import Right
from smartops.people.roles import EVERYWHERE, RIGHTS, Place, Role
from tests.kit.verbs import propose
from tests.kit.visitor import Visitor, text_of
from tests.smartops.console.scene import RECONCILER, deployment

OWN, VAULT, AWAY = Place("default", "shop"), Place("default", "vaultmark"), Place("awaymark", "shop")
MARKS = {OWN: "ownmark", VAULT: "vaultmark", AWAY: "awaymark"}
SCOPES_OF_PEOPLE = (OWN, Place("default"), Place("", "shop"), EVERYWHERE)
PEOPLE = [(role, place) for role in Role for place in SCOPES_OF_PEOPLE]
OWNED = {SecondFactor, Passkey}  # only their owner makes them
ADMIN_ONLY = {Token, RoleGrant, User, Group, SignIn, *OWNED}
FOR_ALL = {SignIn, *OWNED}


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
World = Mapping[Place, Mapping[type[Any], Any]]  # the rows of each place


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
    world: World, pages: Iterable[tuple[str, Mapping[str, Any]]]
) -> Iterator[tuple[str, str, Place, Mapping[str, Any]]]:
    """The name, address, place and parameters of each page, once: one without parameters is the same in all places."""
    for name, parameters in pages:
        known: set[str] = set()
        for place, rows in world.items():
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
    plan = transitions.plan_columns(action, live, change, 2)
    shown: dict[str, Any] = {"uid": live.uid, "generation": live.generation, "change": change}
    shown |= {"before": plan["before_image"], "after": plan["after_image"], "rule": None, "rule_version": None}
    asks = transition_store.Asks(
        {**shown, "limits": {"approvals_required": 1}}, "8f14e45f", Reason.APPROVAL_REQUIRED, f"{mark} asks", {}, 1800
    )
    transition_store.store([transitions.claim(action, RECONCILER)])
    transition_store.store([transitions.ask(action, plan, asks, RECONCILER)])
    return action


def visible(place: Place, scope: Place) -> bool:
    return scope.contains(place.cluster, place.namespace)


def forbidden(scope: Place) -> list[str]:
    return [mark for place, mark in MARKS.items() if not visible(place, scope)]


def is_read(role: Role | None, scope: Place) -> bool:
    """Whether the texts of the pages are looked at. They depend on the rows, and on what the person may change: viewers
    may change nothing, and admins all. The other roles read in one kind of place, where operators may change rules too.
    Who sees all places sees no mark too many."""
    return bool(forbidden(scope)) and (role in (Role.VIEWER, Role.ADMIN) or (role is not None and not scope.cluster))


def read(visitor: Visitor, url: str, scope: Place, search: str = "", headers: Any = None) -> Any:
    """A page that has none of the marks of other places, unless it repeats its address and what the person searches
    for."""
    answer = visitor.get(url, {"q": search} if search else None, headers)
    text = text_of(answer)
    if search:
        text = text.replace(f'value="{search}"', "")
        text = re.sub(f"q(=|%3D){quote(search, safe='')}|{quote(quote(search, safe=''))}", "", text)
    for mark in (one for one in forbidden(scope) if one not in url):
        assert mark not in text, (url, mark, text[max(0, text.find(mark) - 300) : text.find(mark) + 100])
    return answer


def answered(
    visitor: Visitor, role: Role | None, scope: Place, url: str, method: str = "get", headers: Any = None
) -> int:
    """The status of a page of the console, which is read where `is_read` says so."""
    if method == "get" and is_read(role, scope):
        return int(read(visitor, url, scope, headers=headers).status_code)
    return status(visitor, method, url, headers)


def status(visitor: Visitor, method: str, url: str, headers: Any = None) -> int:
    """Of a page of the console, which is not rendered: its view knows the status before. What `django.shortcuts.render`
    calls is replaced, and must be what answers with 200: a page that is made in another way, as a TemplateResponse, or
    with a `render_to_string` that its module imported, is not known to be one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loader, "render_to_string", rendering := Mock(return_value=""))
        found = int(getattr(visitor, method)(url, headers=headers).status_code)
    assert found != 200 or rendering.called, f"{url} is not made by django.shortcuts.render"
    return found


def opens(model: Any, role: Role, scope: Place) -> bool:
    administers = Right.ADMINISTER in RIGHTS[role]
    return model not in ADMIN_ONLY or (administers and (model not in FOR_ALL or scope == EVERYWHERE))


def seen(model: Any, place: Place, scope: Place) -> bool:
    """A token is for all clusters, and so is a rule: it affects each of them."""
    if model is Rule:
        return scope.overlaps("", place.namespace)
    return visible(place, scope) and (model is not Token or not scope.cluster)
