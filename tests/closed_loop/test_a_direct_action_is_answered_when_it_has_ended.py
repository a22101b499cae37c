"""Direct actions, end to end: asked over HTTP, executed by a reconciler, answered when they have ended."""

from typing import Any

import pytest

from guardrails.models import GuardrailSetting
from signals.reasons import Reason
from smartops.dev.sandbox.faults import Refuse
from tests.kit.api import Api
from tests.kit.patience import WAIT
from tests.kit.world import World, deployment, endless, only_action

PATIENT = {"prefer": WAIT}


def ask(api: Api, path: str = "/v1/k8s/scale", **fields: Any) -> Any:
    body = {"deployment": "erp-simulator"} | ({"replicas": 3} if path.endswith("scale") else {}) | fields
    return api.post(path, body, **PATIENT)


def test_scaling_is_answered_with_the_seeds_fields(world: World, api: Api) -> None:
    world.deploy(deployment("erp-simulator", replicas=2))
    with world.reconciling():
        answer = ask(api)

    assert answer.status_code == 200
    told = answer.json()
    assert told.keys() == {"success", "message", "dry_run", "details", "verification"}
    assert (told["success"], told["dry_run"]) == (True, False)
    assert told["details"]["action"] == str(only_action().pk)
    assert (told["details"]["runner"]["status"], told["details"]["runner"]["attempts"]) == ("success", 1)
    assert told["details"]["runner"]["duration_seconds"] >= 0
    counts = [told["verification"][f"{which}_replicas"] for which in ("desired", "ready", "available")]
    assert (told["verification"]["status"], counts) == ("SUCCESS", [3, 3, 3])
    assert world.replicas("erp-simulator") == 3


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/k8s/restart", {}),
        ("/v1/k8s/patch", {"patch": {"spec": {"minReadySeconds": 0, "replicas": 3}}}),
        ("/v1/k8s/scale", {"replicas": 0}),
    ],
)
def test_other_actions_are_verified_too(world: World, api: Api, path: str, fields: dict[str, Any]) -> None:
    world.deploy(deployment("erp-simulator"))
    with world.reconciling():
        answer = ask(api, path, **fields)

    assert (answer.status_code, answer.json()["success"]) == (200, True)
    assert answer.json()["verification"]["status"] == "SUCCESS"
    assert len(world.writes()) == 1


def test_a_dry_run_changes_nothing(world: World, api: Api) -> None:
    world.deploy(deployment("erp-simulator", replicas=2))
    with world.reconciling():
        answer = ask(api, dry_run=True)

    told = answer.json()
    assert (answer.status_code, told["success"], told["dry_run"], told["verification"]) == (200, True, True, None)
    assert told["details"]["runner"]["status"] == "dry_run"
    assert world.replicas("erp-simulator") == 2


def test_an_action_without_verification_is_answered_when_the_cluster_accepts_it(world: World, api: Api) -> None:
    world.deploy(endless("erp-simulator"), settled=False)
    with world.reconciling():
        answer = ask(api, verify=False)

    assert (answer.status_code, answer.json()["success"], answer.json()["verification"]) == (200, True, None)


def test_a_rollout_that_does_not_end_is_no_success(world: World, api: Api) -> None:
    GuardrailSetting.objects.update(verification_timeout_seconds=1)
    world.deploy(endless("erp-simulator"), settled=False)
    with world.reconciling():
        answer = ask(api)

    told = answer.json()
    assert (answer.status_code, told["success"], told["verification"]["status"]) == (200, False, "TIMED_OUT")
    assert told["details"]["runner"]["status"] == "success"


def test_an_unknown_target_is_a_404(world: World, api: Api) -> None:
    world.deploy()
    with world.reconciling():
        answer = ask(api)

    told = answer.json()
    assert (answer.status_code, told["reason"], told["action"]) == (404, Reason.TARGET_NOT_FOUND, str(only_action().pk))


@pytest.mark.parametrize(
    ("refused_with", "status", "reason"),
    [(403, 502, Reason.CLUSTER_FORBIDDEN), (422, 422, Reason.CLUSTER_REJECTED)],
)
def test_a_refusal_of_the_cluster_is_answered_with_its_message(
    world: World, api: Api, refused_with: int, status: int, reason: Reason
) -> None:
    world.deploy(deployment("erp-simulator"))
    world.sandbox.fault(Refuse(method="PATCH", path="/deployments/", status=refused_with))
    with world.reconciling():
        answer = ask(api)

    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert str(refused_with) in answer.json()["detail"]


def test_an_action_goes_on_when_the_wait_ends_first(world: World, api: Api) -> None:
    world.deploy(deployment("erp-simulator"))
    early = api.post("/v1/k8s/restart", {"deployment": "erp-simulator"}, prefer="wait=1", idempotency_key="k")
    assert (early.status_code, early.json()["state"]) == (202, "pending")

    with world.reconciling():
        late = api.post("/v1/k8s/restart", {"deployment": "erp-simulator"}, idempotency_key="k", **PATIENT)

    assert (late.status_code, late.json()["success"]) == (200, True)
    assert late.json()["details"]["action"] == early.json()["id"]
    assert api.get(early.headers["Location"]).json()["state"] == "succeeded"
    assert len(world.writes()) == 1


def test_an_answer_has_the_warnings_of_the_guardrails(world: World, api: Api) -> None:
    world.deploy(deployment("settled"))
    world.deploy(endless("erp-simulator"), settled=False)
    with world.reconciling():
        answer = ask(api, path="/v1/k8s/restart", verify=False)
        scaled = ask(api, deployment="settled").json()

    told = answer.json()
    assert (answer.status_code, told["success"]) == (200, True)
    [warning] = told["warnings"]
    assert (warning["guardrail"], warning["reason"]) == ("rollout", Reason.ROLLOUT_IN_PROGRESS)
    action = api.get(f"/v1/actions/{told['details']['action']}").json()
    assert action["warnings"] == told["warnings"]
    assert [one["outcome"] for one in action["decisions"][-1]["verdicts"]].count("warn") == 1
    assert "warnings" not in scaled, "it is the seed's answer if there are none"
