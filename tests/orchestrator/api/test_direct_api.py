"""Direct actions over HTTP, up to the pending row; what a reconciler makes of it is told in tests/closed_loop."""

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from guardrails.models import Freeze, GuardrailSetting
from guardrails.policies import opa
from guardrails.types import PolicyAnswer
from orchestrator.models import Action, ActionState, Decision
from signals.lib.notifications import connect
from signals.reasons import Reason
from signals.types import Proposal
from smartops.api import actions
from smartops.api.actions import DEFAULT_WAIT, MAX_WAIT, wait_of
from smartops.tokens import Scope
from tests.kit.api import Api, bearer

SCALE = {"deployment": "erp-simulator", "replicas": 3}
RESTART = {"deployment": "erp-simulator"}
PATCH = {"deployment": "erp-simulator", "patch": {"spec": {"minReadySeconds": 5}}}
TARGET = {"kind": "Deployment", "namespace": "smartops-dev", "name": "erp-simulator"}
ASYNC = {"prefer": "respond-async"}


@pytest.mark.parametrize(
    ("path", "body", "type_", "params"),
    [
        ("k8s/scale", SCALE, "SCALE", {"replicas": 3}),
        ("k8s/restart", RESTART, "RESTART", {}),
        ("k8s/patch", PATCH, "PATCH", {"patch": PATCH["patch"]}),
        ("actions/execute", {"type": "SCALE", "target": TARGET, "scale": {"replicas": 3}}, "SCALE", {"replicas": 3}),
        ("actions/execute", {"type": "restart", "target": {"name": "erp-simulator"}}, "RESTART", {}),
        (
            "actions/execute",
            {"type": "Patch", "target": TARGET, "patch": PATCH["patch"]},
            "PATCH",
            {"patch": PATCH["patch"]},
        ),
    ],
)
def test_who_does_not_wait_gets_the_action_and_its_address(
    api: Api, path: str, body: dict[str, Any], type_: str, params: dict[str, Any]
) -> None:
    answer = api.post(f"/v1/{path}", body | {"reason": "Monday morning"}, **ASYNC)

    action = Action.objects.get()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/actions/{action.pk}"
    told = answer.json()
    assert (told["id"], told["type"], told["state"]) == (str(action.pk), type_, "pending")
    assert told["target"] == TARGET | {"cluster": "default"}
    assert (told["params"], told["reason"], told["verification"]) == (params, None, None)
    assert (told["justification"], told["requested_by"], told["origin"]) == ("Monday morning", "agent", "direct")
    assert (told["dry_run"], told["verify"]) == (False, True)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("k8s/scale", RESTART, "replicas"),
        ("k8s/scale", SCALE | {"replicas": -1}, "replicas"),
        ("k8s/scale", SCALE | {"replicas": 2**31}, "replicas"),
        ("k8s/scale", SCALE | {"replicas": 3.0}, "replicas"),
        ("k8s/scale", SCALE | {"replicas": "3"}, "replicas"),
        ("k8s/scale", SCALE | {"replicas": True}, "replicas"),
        ("k8s/scale", SCALE | {"deployment": "Erp"}, "deployment"),
        ("k8s/scale", SCALE | {"namespace": "a/b"}, "namespace"),
        ("k8s/scale", SCALE | {"dry_run": "yes"}, "dry_run"),
        ("k8s/scale", SCALE | {"dryrun": True}, "dryrun"),
        ("k8s/scale", SCALE | {"reason": "a" * 1025}, "reason"),
        ("k8s/restart", SCALE, "replicas"),
        ("k8s/patch", RESTART, "patch"),
        ("k8s/patch", PATCH | {"patch": []}, "patch"),
        ("actions/execute", {"target": TARGET}, "type"),
        ("actions/execute", {"type": "DELETE", "target": TARGET}, "type"),
        ("actions/execute", {"type": ["SCALE"], "target": TARGET}, "type"),
        ("actions/execute", {"type": "RESTART"}, "target"),
        ("actions/execute", {"type": "RESTART", "target": TARGET | {"kind": "Pod"}}, "target.kind"),
        ("actions/execute", {"type": "RESTART", "target": TARGET | {"uid": "x"}}, "target.uid"),
        ("actions/execute", {"type": "RESTART", "target": TARGET | {"name": ""}}, "target.name"),
        ("actions/execute", {"type": "SCALE", "target": TARGET}, "scale"),
        ("actions/execute", {"type": "SCALE", "target": TARGET, "scale": {}}, "scale.replicas"),
        ("actions/execute", {"type": "SCALE", "target": TARGET, "scale": {"delta": 1, "replicas": 1}}, "scale.delta"),
        ("actions/execute", {"type": "RESTART", "target": TARGET, "scale": {"replicas": 1}}, "scale"),
        ("actions/execute", {"type": "RESTART", "target": TARGET, "patch": {}}, "patch"),
        ("actions/execute", {"type": "PATCH", "target": TARGET}, "patch"),
    ],
)
def test_a_wrong_field_is_refused_by_its_name(api: Api, path: str, body: dict[str, Any], field: str) -> None:
    answer = api.post(f"/v1/{path}", body, **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidRequest")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Action.objects.exists()


@pytest.mark.parametrize("path", ["k8s/patch", "actions/execute"])
def test_a_patch_that_runs_code_is_refused_by_its_path(api: Api, path: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "evil"}]}}}}
    body = {"patch": patch} | (RESTART if path == "k8s/patch" else {"type": "PATCH", "target": TARGET})

    answer = api.post(f"/v1/{path}", body, **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (400, Reason.PATCH_FORBIDDEN)
    assert answer.json()["errors"][0]["field"] == "patch.spec.template.spec.containers[0].image"
    assert not Action.objects.exists()


def refused(api: Api, status: int, reason: Reason, body: dict[str, Any] = SCALE) -> dict[str, Any]:
    """The problem, of which a Decision was stored, too."""
    answer = api.post("/v1/k8s/scale", body, **ASYNC)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["reason"]) == (status, reason)
    decision = Decision.objects.order_by("pk").last()
    assert decision is not None
    assert (decision.outcome, decision.reason, decision.verdicts) == ("deny", reason, problem["verdicts"])
    return problem


def test_more_replicas_than_the_limit_are_refused_with_the_numbers(api: Api) -> None:
    problem = refused(api, 400, Reason.REPLICA_LIMIT, SCALE | {"replicas": 9})

    assert (problem["details"]["value"], problem["details"]["limit"]) == (9, 8)
    assert {verdict["guardrail"] for verdict in problem["verdicts"]} >= {"max_replicas", "freeze", "policy"}


def test_a_limit_of_the_workload_counts(api: Api) -> None:
    GuardrailSetting.objects.create(namespace="smartops-dev", workload="erp-simulator", max_replicas=2)

    assert refused(api, 400, Reason.REPLICA_LIMIT)["details"]["limit"] == 2


def test_a_busy_target_is_a_conflict_that_names_the_action(api: Api) -> None:
    first = api.post("/v1/k8s/restart", RESTART, **ASYNC).json()

    assert refused(api, 409, Reason.TARGET_BUSY)["details"] == {"action": first["id"]}


def test_a_freeze_is_a_conflict_that_says_until_when(api: Api) -> None:
    until = timezone.now() + timedelta(hours=1)
    Freeze.objects.create(namespace="smartops-dev", reason="release", by="admin", until=until)

    problem = refused(api, 409, Reason.FROZEN)
    assert problem["next_allowed_at"] == until.isoformat()
    assert "release" in problem["detail"]


def test_a_protected_namespace_is_a_conflict(api: Api) -> None:
    refused(api, 409, Reason.PROTECTED_NAMESPACE, SCALE | {"namespace": "kube-system"})


@pytest.mark.parametrize(("allow", "reason"), [(False, Reason.POLICY_DENIED), (None, Reason.POLICY_UNAVAILABLE)])
def test_a_policy_that_does_not_allow_is_a_403(
    api: Api, monkeypatch: pytest.MonkeyPatch, allow: bool | None, reason: Reason
) -> None:
    def answer(action: Proposal, context: dict[str, Any], signal: object = None) -> PolicyAnswer:
        return PolicyAnswer(allow, "not on Fridays", "http://opa")

    monkeypatch.setattr("orchestrator.decide.facts.check_policy", answer)

    assert "not on Fridays" in refused(api, 403, reason)["detail"]
    assert opa.check_policy is not answer


def test_a_token_acts_only_in_its_namespaces(db: None) -> None:
    erp = bearer("erp", Scope, ["erp"])

    answer = erp.post("/v1/k8s/scale", SCALE, **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (403, "NamespaceForbidden")
    assert erp.post("/v1/k8s/scale", SCALE | {"namespace": "erp"}, **ASYNC).status_code == 202


def test_the_same_key_and_request_give_the_same_action(api: Api) -> None:
    first = api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)
    again = api.post("/v1/k8s/scale", SCALE | {"dry_run": False}, idempotency_key="k1", **ASYNC)
    same_meaning = {"type": "scale", "target": TARGET, "scale": {"replicas": 3}}
    elsewhere = api.post("/v1/actions/execute", same_meaning, idempotency_key="k1", **ASYNC)

    assert first.json() == again.json() == elsewhere.json()
    assert Action.objects.count() == 1


@pytest.mark.parametrize(
    "change", [{"replicas": 4}, {"dry_run": True}, {"verify": False}, {"reason": "x"}, {"deployment": "other"}]
)
def test_the_same_key_with_another_request_is_refused(api: Api, change: dict[str, Any]) -> None:
    api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)

    answer = api.post("/v1/k8s/scale", SCALE | change, idempotency_key="k1", **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (409, "IdempotencyKeyReused")
    assert Action.objects.count() == 1


def test_keys_of_two_callers_do_not_meet(api: Api) -> None:
    api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)

    answer = bearer("other").post("/v1/k8s/scale", SCALE | {"deployment": "x"}, idempotency_key="k1", **ASYNC)

    assert answer.status_code == 202


@pytest.mark.parametrize("key", ["", "a b", "\xe4", "a" * 257, "\t"])
def test_a_key_is_printable_ascii(api: Api, key: str) -> None:
    answer = api.post("/v1/k8s/scale", SCALE, idempotency_key=key, **ASYNC)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


def test_an_action_that_waits_for_a_person_is_not_waited_for(api: Api) -> None:
    api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)
    # As a reconciler would leave it; the triggers forbid the short way.
    action = Action.claim_due("default", 1, "test")[0]
    action.review("Did it land?", "test")

    answer = api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", prefer="wait=300")

    assert (answer.status_code, answer.json()["state"]) == (202, ActionState.NEEDS_REVIEW)
    assert answer.json()["reason"] == Reason.OUTCOME_UNKNOWN


def test_what_is_stored_is_accepted_also_when_the_database_fails_after_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told otherwise, the caller would ask again, and be obeyed twice."""

    def away(*_: Any) -> Any:
        raise OperationalError("the database went away")

    monkeypatch.setattr(actions, "_load", away)

    answer = api.post("/v1/k8s/restart", RESTART)

    assert (answer.status_code, answer.json()["state"]) == (202, ActionState.PENDING)
    assert answer.headers["Location"] == f"/v1/actions/{Action.objects.get().pk}"


@pytest.mark.django_db(transaction=True)
def test_a_caller_that_waits_holds_no_connection() -> None:
    api = bearer("agent")
    connection.close()
    waiting = Thread(target=api.post, args=("/v1/k8s/scale", SCALE), kwargs={"prefer": "wait=3"})
    waiting.start()
    with connect() as outside_the_pool:
        while not outside_the_pool.execute("SELECT FROM orchestrator_action").rowcount:
            assert waiting.is_alive()
        while in_use():
            assert waiting.is_alive()
    assert waiting.is_alive()
    waiting.join(10)


def in_use() -> int:
    stats = connection.pool.get_stats()  # type: ignore[attr-defined]
    return int(stats["pool_size"] - stats["pool_available"])


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("", DEFAULT_WAIT),
        ("respond-async", 0),
        ("Respond-Async", 0),
        ("wait=5", 5),
        ("wait = 5", 5),
        ('wait="5"', 5),
        ("respond-async, wait=5", 5),
        ("wait=5, respond-async", 5),
        ("wait=0", 0),
        ("wait=999", MAX_WAIT),
        ("wait=-1", DEFAULT_WAIT),
        ("wait=soon", DEFAULT_WAIT),
        ("wait=\u0663", DEFAULT_WAIT),
        ("return=minimal", DEFAULT_WAIT),
    ],
)
def test_the_wait_that_a_caller_prefers(prefer: str, seconds: int) -> None:
    assert wait_of(prefer) == seconds


@given(st.text())
def test_no_preference_is_an_error(prefer: str) -> None:
    assert 0 <= wait_of(prefer) <= MAX_WAIT
