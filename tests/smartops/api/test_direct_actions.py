"""Direct actions over HTTP, up to the pending row; tests/closed_loop executes them."""

from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from guardrails.models import Freeze, GuardrailSetting
from guardrails.policies import opa
from guardrails.types import PolicyAnswer
from orchestrator.models import Action, ActionState, DecisionRecord, IdempotencyKey, transition_store, transitions
from orchestrator.reconciler.claim import claim_due
from signals import actors
from signals.lib.notifications import connect
from signals.reasons import Reason
from signals.types import Kind, Proposal
from smartops.api import actions
from smartops.api.waiting import DEFAULT_WAIT, MAX_WAIT, wait_of
from smartops.tokens import Scope
from tests.kit.api import Api, bearer

SCALE = {"deployment": "erp-simulator", "replicas": 3}
RESTART = {"deployment": "erp-simulator"}
PATCH = {"deployment": "erp-simulator", "patch": {"spec": {"minReadySeconds": 5}}}
TARGET = {"kind": "Deployment", "namespace": "smartops-dev", "name": "erp-simulator"}
ASYNC = {"prefer": "respond-async"}
DIFFERENT = (Kind.DEPLOYMENT, Kind.STATEFUL_SET)


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
def test_a_caller_that_does_not_wait_gets_the_action_and_its_location(
    api: Api, path: str, body: dict[str, Any], type_: str, params: dict[str, Any]
) -> None:
    answer = api.post(f"/v1/{path}", body | {"reason": "Monday morning"}, **ASYNC)

    action = Action.objects.get()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/v1/actions/{action.pk}"
    action_view = answer.json()
    assert (action_view["id"], action_view["type"], action_view["state"]) == (str(action.pk), type_, "pending")
    assert action_view["target"] == TARGET | {"cluster": "default"}
    assert (action_view["params"], action_view["reason"], action_view["verification"]) == (params, None, None)
    assert (action_view["justification"], action_view["requested_by"], action_view["origin"]) == (
        "Monday morning",
        "token:agent",
        "direct",
    )
    assert (action_view["dry_run"], action_view["verify"]) == (False, True)


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
        ("actions/execute", {"type": "RESTART", "target": TARGET | {"kind": ["Deployment"]}}, "target.kind"),
        ("k8s/scale", SCALE | {"kind": "ReplicaSet"}, "kind"),
        ("k8s/restart", RESTART | {"kind": "statefulset"}, "kind"),
        ("k8s/patch", PATCH | {"kind": ""}, "kind"),
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
def test_an_invalid_field_is_refused_by_its_name(api: Api, path: str, body: dict[str, Any], field: str) -> None:
    answer = api.post(f"/v1/{path}", body, **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (422, "InvalidRequest")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not Action.objects.exists()


@pytest.mark.parametrize("kind", Kind)
def test_a_request_names_the_kind_of_its_target(api: Api, kind: Kind) -> None:
    bodies = {
        "k8s/restart": RESTART | {"kind": kind},
        "k8s/patch": {"patch": {"spec": {"minReadySeconds": 5}}, "deployment": "b", "kind": kind},
        "actions/execute": {"type": "RESTART", "target": TARGET | {"kind": kind, "name": "c"}},
    }
    for path, body in bodies.items():
        assert api.post(f"/v1/{path}", body, **ASYNC).json()["target"]["kind"] == kind

    assert [action.workload.target.kind for action in Action.objects.select_related("workload")] == [kind] * 3


def test_an_unknown_kind_is_answered_with_the_kinds_that_there_are(api: Api) -> None:
    answer = api.post("/v1/k8s/restart", RESTART | {"kind": "CronJob"}, **ASYNC)

    assert answer.json()["detail"] == "kind: Input should be Deployment, StatefulSet or DaemonSet"


def test_workloads_of_two_kinds_with_one_name_are_changed_at_the_same_time(api: Api) -> None:
    deployment, stateful_set = (api.post("/v1/k8s/restart", RESTART | {"kind": one}, **ASYNC) for one in DIFFERENT)

    assert (deployment.status_code, stateful_set.status_code) == (202, 202)
    assert api.post("/v1/k8s/restart", RESTART, **ASYNC).json()["reason"] == Reason.TARGET_BUSY


@pytest.mark.parametrize("path", ["k8s/scale", "actions/execute"])
def test_a_daemon_set_is_not_scaled(api: Api, path: str) -> None:
    execute = {"type": "SCALE", "target": TARGET | {"kind": "DaemonSet"}, "scale": {"replicas": 3}}

    answer = api.post(f"/v1/{path}", execute if path == "actions/execute" else SCALE | {"kind": "DaemonSet"}, **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (400, Reason.UNSUPPORTED_BY_KIND)
    assert answer.json()["details"] == {"kind": "DaemonSet", "field": "spec.replicas"}
    assert DecisionRecord.objects.get().reason == Reason.UNSUPPORTED_BY_KIND
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
    """The problem, of which a DecisionRecord was stored, too."""
    answer = api.post("/v1/k8s/scale", body, **ASYNC)
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["reason"]) == (status, reason)
    decision = DecisionRecord.objects.order_by("pk").last()
    assert decision is not None
    assert (decision.outcome, decision.reason, decision.verdicts) == ("deny", reason, problem["verdicts"])
    return problem


def test_more_replicas_than_the_limit_are_refused_with_the_numbers(api: Api) -> None:
    problem = refused(api, 400, Reason.REPLICA_LIMIT, SCALE | {"replicas": 9})

    assert (problem["details"]["value"], problem["details"]["limit"]) == (9, 8)
    assert {verdict["guardrail"] for verdict in problem["verdicts"]} >= {"max_replicas", "freeze", "policy"}


def test_the_replica_limit_of_a_workload_is_enforced(api: Api) -> None:
    GuardrailSetting.objects.create(namespace="smartops-dev", workload="erp-simulator", max_replicas=2)

    assert refused(api, 400, Reason.REPLICA_LIMIT)["details"]["limit"] == 2


def test_a_busy_target_is_a_conflict_that_names_the_action(api: Api) -> None:
    first = api.post("/v1/k8s/restart", RESTART, **ASYNC).json()

    assert refused(api, 409, Reason.TARGET_BUSY)["details"] == {"action": first["id"]}


def test_a_freeze_is_a_conflict_with_the_time_of_its_end(api: Api) -> None:
    until = timezone.now() + timedelta(hours=1)
    Freeze.objects.create(namespace="smartops-dev", reason="release", by="user:admin", until=until)

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

    monkeypatch.setattr("orchestrator.decide.policy.check_policy", answer)

    assert "not on Fridays" in refused(api, 403, reason)["detail"]
    assert opa.check_policy is not answer


def test_a_token_acts_only_in_its_namespaces(db: None) -> None:
    erp = bearer("erp", Scope, ["erp"])

    answer = erp.post("/v1/k8s/scale", SCALE, **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (403, "NamespaceForbidden")
    assert erp.post("/v1/k8s/scale", SCALE | {"namespace": "erp"}, **ASYNC).status_code == 202


def test_an_equal_request_with_the_same_key_returns_the_same_action(api: Api) -> None:
    first = api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)
    again = api.post("/v1/k8s/scale", SCALE | {"dry_run": False}, idempotency_key="k1", **ASYNC)
    same_meaning = {"type": "scale", "target": TARGET, "scale": {"replicas": 3}}
    elsewhere = api.post("/v1/actions/execute", same_meaning, idempotency_key="k1", **ASYNC)

    assert first.json() == again.json() == elsewhere.json()
    assert Action.objects.count() == 1


@pytest.mark.parametrize(
    "change", [{"replicas": 4}, {"dry_run": True}, {"verify": False}, {"reason": "x"}, {"deployment": "other"}]
)
def test_another_request_with_the_same_key_is_refused(api: Api, change: dict[str, Any]) -> None:
    api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)

    answer = api.post("/v1/k8s/scale", SCALE | change, idempotency_key="k1", **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (409, "IdempotencyKeyReused")
    assert Action.objects.count() == 1


def test_a_key_whose_action_is_not_stored_any_more_is_refused(api: Api) -> None:
    api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)
    IdempotencyKey.objects.update(action_id=uuid4())

    answer = api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)

    assert (answer.status_code, answer.json()["reason"]) == (409, "IdempotencyKeyReused")


def test_two_callers_may_use_the_same_key(api: Api) -> None:
    api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)

    answer = bearer("other").post("/v1/k8s/scale", SCALE | {"deployment": "x"}, idempotency_key="k1", **ASYNC)

    assert answer.status_code == 202


@pytest.mark.parametrize("key", ["", "a b", "\xe4", "a" * 257, "\t"])
def test_an_idempotency_key_must_be_printable_ascii(api: Api, key: str) -> None:
    answer = api.post("/v1/k8s/scale", SCALE, idempotency_key=key, **ASYNC)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "Idempotency-Key")


def test_a_caller_does_not_wait_for_an_action_that_needs_review(api: Api) -> None:
    api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", **ASYNC)
    # As a reconciler would leave it; the triggers forbid the short way.
    [claim] = claim_due("default", 1, "reconciler:test")
    transition_store.store([transitions.require_review(claim.action, "Was it applied?", "reconciler:test")])

    answer = api.post("/v1/k8s/scale", SCALE, idempotency_key="k1", prefer="wait=300")

    assert (answer.status_code, answer.json()["state"]) == (202, ActionState.NEEDS_REVIEW)
    assert answer.json()["reason"] == Reason.OUTCOME_UNKNOWN


def test_a_stored_action_is_accepted_although_the_database_fails_afterwards(
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
    before = in_use()
    waiting = Thread(target=api.post, args=("/v1/k8s/scale", SCALE), kwargs={"prefer": "wait=60"})
    waiting.start()
    with connect() as outside_the_pool:
        while not outside_the_pool.execute("SELECT FROM orchestrator_action").rowcount:
            assert waiting.is_alive()
        while in_use() > before:
            assert waiting.is_alive()
    assert waiting.is_alive()
    transition_store.store([transitions.cancel(Action.objects.get(), Reason.CANCELLED, "", actors.user("ana"))])
    waiting.join(60)
    assert not waiting.is_alive()


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
def test_the_prefer_header_sets_the_wait(prefer: str, seconds: int) -> None:
    assert wait_of(prefer) == seconds


@given(st.text())
def test_any_prefer_header_gives_a_wait_within_the_bounds(prefer: str) -> None:
    assert 0 <= wait_of(prefer) <= MAX_WAIT
