"""What waits for persons, as agents read it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now
from pytest_django.fixtures import Settings

from orchestrator.models import Action, ActionState, Approval, transition_store, transitions
from orchestrator.models.transition_store import Asks
from signals.reasons import Reason
from smartops.api.waiting import ends_of
from smartops.tokens import Scope
from tests.kit.api import Api, bearer
from tests.kit.verbs import requested

SHOWN = {"uid": "u1", "generation": 3, "limits": {"approvals_required": 2}}


def asked(name: str = "erp-simulator", digest: str = "d1") -> Action:
    action = requested(name)
    plan = {"before_image": {"spec.replicas": 2}, "after_image": {"spec.replicas": 3}}
    changed = [{"what": "generation", "before": 2, "after": 3}]
    asks = Asks(SHOWN, digest, Reason.PLAN_CHANGED, "It has changed.", {"changed": changed}, 600)
    transition_store.store([transitions.claim(action, "reconciler:test")])
    transition_store.store([transitions.ask(action, plan, asks, "reconciler:test")])
    return action


def test_what_waits_is_listed_with_what_is_shown_and_who_has_decided(api: Api) -> None:
    action = asked()
    requested("another")
    for by, digest in (("user:ana", "d0"), ("user:ana", "d1"), ("user:ben", "d0")):
        Approval.objects.create(action=action, digest=digest, by=by, decision="approve")

    [found] = api.get("/v1/approvals").json()["items"]

    assert (found["id"], found["state"], found["digest"], found["required"]) == (
        str(action.pk), "awaiting_approval", "d1", 2,
    )  # fmt: skip
    assert found["shown"] == SHOWN
    assert found["fields"] == [{"path": "spec.replicas", "before": 2, "after": 3}]
    assert found["changed"] == [{"what": "generation", "before": 2, "after": 3}]
    assert [(one["by"], one["counts"]) for one in found["approvals"]] == [
        ("user:ana", False), ("user:ana", True), ("user:ben", False),
    ]  # fmt: skip
    assert api.get(f"/v1/approvals/{action.pk}").json() == found


def test_what_has_expired_or_was_decided_is_not_listed_and_can_be_read(api: Api) -> None:
    late, rejected = asked("a"), asked("b")
    Action.objects.filter(pk=late.pk).update(deadline_at=Now() - timedelta(seconds=1))
    transition_store.store([transitions.reject(rejected, "No.", "user:ana")])

    assert api.get("/v1/approvals").json()["items"] == []
    assert api.get(f"/v1/approvals/{rejected.pk}").json()["state"] == "rejected"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"workload": "a"}, ["a"]),
        ({"namespace": "another"}, []),
        ({"type": "RESTART"}, []),
        ({"kind": "StatefulSet"}, []),
        ({"cluster": "default", "limit": 1}, ["b"]),
    ],
)
def test_the_list_is_filtered_and_paged(api: Api, query: dict[str, Any], found: list[str]) -> None:
    asked("a"), asked("b")

    page = api.get("/v1/approvals", **query).json()
    assert [one["target"]["name"] for one in page["items"]] == found
    if "limit" in query:
        assert [one["target"]["name"] for one in api.get(page["next"]).json()["items"]] == ["a"]


def test_a_token_reads_its_namespaces_only(db: None) -> None:
    action = asked()
    narrow, blind = bearer("narrow", [Scope.READ], ["another"]), bearer("blind", [Scope.ACTIONS_WRITE])

    assert narrow.get("/v1/approvals").json()["items"] == []
    assert narrow.get(f"/v1/approvals/{action.pk}").status_code == 403
    assert blind.get("/v1/approvals").status_code == 403


def test_an_action_that_nobody_was_asked_about_is_no_approval(api: Api) -> None:
    assert api.get(f"/v1/approvals/{requested().pk}").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_token_can_decide(api: Api, method: str) -> None:
    """No scope helps: there is nothing to call."""
    action = asked()

    assert api.call(method, f"/v1/approvals/{action.pk}").status_code == 405
    assert api.call(method, f"/v1/approvals/{action.pk}/approve").status_code == 404


@pytest.mark.parametrize(("prefer", "ends"), [("", True), ("respond-async", True), ("wait=9", False)])
def test_only_a_caller_that_names_a_time_waits_for_persons(prefer: str, ends: bool) -> None:
    assert (ActionState.AWAITING_APPROVAL in ends_of(prefer)) is ends


def test_an_answer_links_to_the_page_of_the_console_if_its_address_is_known(api: Api, settings: Settings) -> None:
    waits, other = asked(), requested("another")
    paths = [f"/v1/actions/{waits.pk}", f"/v1/actions/{other.pk}", f"/v1/approvals/{waits.pk}"]
    assert [api.get(path).json()["url"] for path in paths] == [None, None, None]

    settings.SMARTOPS_CONSOLE_URL = console = "https://smartops.example.com/console"

    approval = f"{console}/approvals/{waits.pk}/"
    assert [api.get(path).json()["url"] for path in paths] == [approval, f"{console}/actions/{other.pk}/", approval]
    assert {one["url"] for one in api.get("/v1/actions").json()["items"]} == {
        approval, f"{console}/actions/{other.pk}/",
    }  # fmt: skip
    transition_store.store([transitions.reject(waits, "user:ana rejected it: no", "user:ana")])
    assert api.get(paths[0]).json()["url"] == f"{console}/actions/{waits.pk}/"
    assert api.get(paths[2]).json()["url"] == approval
