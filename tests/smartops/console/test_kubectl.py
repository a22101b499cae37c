import shlex
from typing import Any

import pytest

from signals.types import ActionType, Kind, Target
from smartops.console.kubectl import command

WEB = Target("default", "prod", "web")


@pytest.mark.parametrize(
    ("type_", "target", "change", "dry_run", "words"),
    [
        (ActionType.SCALE, WEB, {"replicas": 4}, False, "scale deployment/web --replicas=4"),
        (ActionType.SCALE, WEB, {"replicas": 4}, True, "scale deployment/web --replicas=4 --dry-run=server"),
        (
            ActionType.RESTART,
            Target("default", "prod", "db", Kind.STATEFUL_SET),
            {"value": "x"},
            False,
            "rollout restart statefulset/db",
        ),
        (
            ActionType.PATCH,
            WEB,
            {"patch": {"spec": {"paused": True}}},
            False,
            """patch deployment/web --type=strategic '--patch={"spec":{"paused":true}}'""",
        ),
    ],
)
def test_the_command_makes_the_same_change_by_hand(
    type_: ActionType, target: Target, change: dict[str, Any], dry_run: bool, words: str
) -> None:
    assert command(type_, target, change, dry_run) == f"kubectl --namespace prod {words}"


def test_the_dry_run_of_a_restart_is_a_patch_because_kubectl_has_none() -> None:
    words = shlex.split(command(ActionType.RESTART, WEB, {"value": "x; rm -rf '"}, True))
    assert words[3:6] == ["patch", "deployment/web", "--type=strategic"]
    assert "x; rm -rf '" in words[6]
    assert words[7] == "--dry-run=server"
