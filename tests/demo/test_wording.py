"""How the demo puts the API's numbers into words, and onto the screen."""

import io
import json
import subprocess
from itertools import pairwise
from typing import Any

import pytest

from smartops.dev.demo.farewell import commands
from smartops.dev.demo.installation import environment
from smartops.dev.demo.screen import WIDTH, Screen
from smartops.dev.demo.wording import numbers, patched, timeline_of_write


def verdict(guardrail: str = "any", outcome: str = "allow", message: str = "", **numbers: Any) -> dict[str, Any]:
    return {"guardrail": guardrail, "outcome": outcome, "message": message, "details": numbers, "until": None}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (verdict(age_seconds=0.04, limit_seconds=900), "0.0 s old, of at most 900 s"),
        (verdict(uid="a-b", replicas=2), "2 replicas, uid a-b"),
        (verdict(value=3, limit=8, current=2), "3 of 8 replicas"),
        (verdict(value=None, limit=8, current=2), "2 of 8 replicas"),
        (verdict(value=1, wanted=2, limit=3, window_seconds=900), "+1 so far, +2 now, of +3 in 15 min"),
        (verdict(value=5, limit=6, window_seconds=3600), "5 of 6 in 60 min"),
        (verdict(limit_seconds=300), "0 s left of 300 s"),
        (verdict("freeze"), "nothing is frozen"),
        (
            verdict("policy", outcome="not_evaluated", message="No policy engine is configured."),
            "No policy engine is configured.",
        ),
        (verdict("of tomorrow"), ""),
        (verdict(outcome="deny", message="9 would exceed 8.", value=9, limit=8, current=8), "9 would exceed 8."),
    ],
)
def test_a_verdict_is_said_with_value_and_limit(said: dict[str, Any], words: str) -> None:
    assert numbers(said) == words


def test_a_deferral_says_when_it_is_looked_at_again() -> None:
    deferred = verdict(outcome="defer", message="Too soon.") | {"until": "2026-11-24T12:41:07.250+00:00"}
    assert numbers(deferred).startswith("Too soon. Again at ")
    assert numbers(deferred).endswith(":07.")


@pytest.mark.parametrize(
    ("type_", "change", "words"),
    [
        ("SCALE", {"replicas": 3}, "dev/erp: Scaled from 2 to 3 replicas"),
        ("RESTART", {"value": "id"}, "dev/erp: Restarted all pods"),
        ("PATCH", {"patch": {"spec": {"paused": True}}}, "dev/erp: Patched spec.paused"),
    ],
)
def test_a_change_is_said_in_one_line(type_: str, change: dict[str, Any], words: str) -> None:
    target = {"namespace": "dev", "name": "erp"}
    action = {"type": type_, "target": target, "before": {"replicas": 2}, "change": change}
    assert patched(action) == words


@pytest.mark.parametrize(
    ("states", "planned"),
    [
        (["", "pending", "applying", "verifying", "succeeded"], 1),
        (["", "pending", "applying", "applying", "applying", "verifying", "succeeded"], 3),
    ],
    ids=["planned as it was admitted", "claimed, planned, and planned again"],
)
def test_a_write_is_told_from_its_last_plan_to_its_answer(states: list[str], planned: int) -> None:
    timeline = [
        {"at": str(at), "from_state": here, "to_state": there, "message": f"{here} to {there}"}
        for at, (here, there) in enumerate(pairwise(states))
    ]
    at, said = timeline_of_write({"timeline": timeline})
    assert at == str(planned)
    assert list(said) == [("", timeline[planned]["message"]), ("", "applying to verifying")]


def test_no_line_is_wider_than_the_screen_and_none_is_coloured_outside_of_a_terminal() -> None:
    stream = io.StringIO()
    screen, long = Screen(stream), "word " * 60
    screen.quote("POST /v1/signals/rca", {f"key {number}": long[:20] for number in range(20)})
    screen.event(0.25, "decided", long, "32")
    screen.detail("allow  max_replicas ", long)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= WIDTH
    assert "\x1b" not in stream.getvalue()


def test_the_commands_of_the_last_page_fit_the_screen_and_post_json() -> None:
    token = f"smo_{'x' * 12}_{'y' * 38}"
    for _, command in commands({"url": "http://127.0.0.1:65535", "token": token, "kubeconfig": "/a b/kubeconfig"}):
        if command.startswith("curl"):
            assert max(map(len, command.splitlines())) <= WIDTH
            stubbed = f'curl() {{ printf %s "${{@: -1}}"; }}; {command}'
            body = subprocess.run(
                ["bash", "-c", stubbed], capture_output=True, text=True, check=True, timeout=60
            ).stdout
            assert json.loads(body).keys() & {"deployment", "windowId"}


def test_children_hear_of_no_other_database_or_cluster() -> None:
    given = {"PATH": "/bin", "KUBECONFIG": "production", "DATABASE_URL": "production", "SMARTOPS_OPA_URL": "x"}
    assert environment(given) == {"PATH": "/bin", "PYTHONUNBUFFERED": "1"}
