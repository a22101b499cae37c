"""The acting half of each action type: absolute plans, one request each, and what verification expects."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.actions import HANDLERS
from orchestrator.k8s.cluster import Cluster
from orchestrator.k8s.parse import parse_workload
from orchestrator.k8s.types import Preconditions, WorkloadKey, WorkloadObject
from signals.types import ActionType
from tests.orchestrator.k8s.stub import deployment

KEY, GUARD = WorkloadKey("dev", "web"), Preconditions("uid-1", "41")


def live(replicas: int = 2) -> WorkloadObject:
    return parse_workload(deployment("web", replicas=replicas))


class Recording:
    """A cluster that records each request."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, WorkloadKey, Any, dict[str, Any]]] = []

    def __getattr__(self, operation: str) -> Any:
        def call(key: WorkloadKey, argument: Any, **how: Any) -> WorkloadObject:
            self.requests.append((operation, key, argument, how))
            return live()

        return call


PATCHED = {"spec": {"replicas": 4, "paused": False}}


@pytest.mark.parametrize(
    ("type_", "params", "change", "operation", "argument", "expected"),
    [
        (ActionType.SCALE, {"delta": 1}, {"replicas": 3}, "scale_workload", 3, 3),
        (ActionType.SCALE, {"replicas": 0}, {"replicas": 0}, "scale_workload", 0, 0),
        (ActionType.RESTART, {}, {"value": "0199-a"}, "restart_workload", "0199-a", None),
        (ActionType.PATCH, {"patch": PATCHED}, {"patch": PATCHED}, "patch_workload", PATCHED, 4),
        (
            ActionType.PATCH,
            {"patch": {"spec": {"paused": True}}},
            {"patch": {"spec": {"paused": True}}},
            "patch_workload",
            {"spec": {"paused": True}},
            None,
        ),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_a_plan_is_written_with_one_request_that_names_the_action_and_the_version(
    type_: ActionType,
    params: Mapping[str, Any],
    change: dict[str, Any],
    operation: str,
    argument: Any,
    expected: int | None,
    dry_run: bool,
) -> None:
    handler, cluster = HANDLERS[type_], Recording()

    assert handler.plan(params, live(), "0199-a") == change
    handler.write(cast(Cluster, cluster), KEY, change, GUARD, "0199-a", dry_run)

    how = {"preconditions": GUARD, "action": "0199-a", "dry_run": dry_run}
    assert cluster.requests == [(operation, KEY, argument, how)]
    assert handler.expected_replicas(change) == expected


def test_every_action_type_has_its_acting_half() -> None:
    assert set(HANDLERS) == set(ActionType)


@given(st.integers(0, 9), st.integers(-9, 9).filter(bool))
def test_a_relative_proposal_becomes_an_absolute_change(replicas: int, delta: int) -> None:
    handler = HANDLERS[ActionType.SCALE]
    change = handler.plan({"delta": delta}, live(replicas), "0199-a")

    assert change == {"replicas": replicas + delta}
    assert handler.expected_replicas(change) == replicas + delta
