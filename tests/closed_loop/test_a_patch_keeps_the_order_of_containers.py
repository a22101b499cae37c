"""The order of the containers is in the cluster: the reconciler compares a patch with it before the write."""

from typing import Any

import pytest

from orchestrator.models import Action, ActionState
from signals.models import Rule, SignalState
from signals.reasons import Reason
from tests.kit.api import bearer
from tests.kit.signals import anomaly, post
from tests.kit.world import World, deployment, only_signal


def two_containers() -> Any:
    manifest = deployment("web")
    pod = manifest["spec"]["template"]["spec"]
    pod["containers"].append({"name": "proxy", "image": "example.test/proxy:1"})
    return manifest


def resources(*names: str) -> dict[str, Any]:
    containers = [{"name": name, "resources": {"limits": {"memory": "64Mi"}}} for name in names]
    return {"patch": {"spec": {"template": {"spec": {"containers": containers}}}}}


@pytest.mark.parametrize(
    ("names", "state", "said"),
    [
        (("app", "proxy"), ActionState.SUCCEEDED, ""),
        (("proxy",), ActionState.SUCCEEDED, ""),
        (("proxy", "app"), ActionState.CANCELLED, "in their order in the workload: app, proxy"),
        (("app", "miner"), ActionState.CANCELLED, "there is no container miner"),
    ],
)
def test_a_direct_patch_is_compared_with_the_live_order(
    world: World, names: tuple[str, ...], state: ActionState, said: str
) -> None:
    world.deploy(two_containers())
    world.settle("web")
    bearer("agent").post("/v1/k8s/patch", {"deployment": "web", **resources(*names)}, prefer="respond-async")

    world.drain()

    action = Action.objects.get()
    assert (action.state, said in action.message) == (state, True)
    assert action.reason == (Reason.PATCH_FORBIDDEN if said else Reason.ROLLOUT_COMPLETE)
    assert len(world.writes()) == (0 if said else 1)


def test_a_rule_is_compared_with_the_live_order(world: World) -> None:
    params = resources("proxy", "app")
    Rule.objects.create(name="order", priority=1, source="anomaly", symptom="error", action_type="PATCH", params=params)
    world.deploy(two_containers())
    world.settle("web")
    post(anomaly("web", "error"))

    world.drain()

    assert (only_signal().state, only_signal().reason) == (SignalState.DENIED, Reason.PATCH_FORBIDDEN)
    assert world.writes() == []
