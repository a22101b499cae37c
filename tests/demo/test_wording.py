"""The texts of the demo, made from the documents of the API, and its output."""

import io
import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from smartops.dev.demo.farewell import commands
from smartops.dev.demo.installation import environment
from smartops.dev.demo.screen import WIDTH, Screen
from smartops.dev.demo.wording import change_of, explain, timeline_of_write
from tests.kit.patience import PATIENCE


def verdict(guardrail: str = "any", outcome: str = "allow", message: str = "", **numbers: Any) -> dict[str, Any]:
    return {"guardrail": guardrail, "outcome": outcome, "message": message, "details": numbers, "until": None}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (verdict(age_seconds=0.04, limit_seconds=900), "0.0 s old, limit 900 s"),
        (verdict(uid="a-b", replicas=2), "2 replicas, uid a-b"),
        (verdict(value=3, limit=8, current=2), "3 of 8 replicas"),
        (verdict(value=None, limit=8, current=2), "2 of 8 replicas"),
        (verdict(value=1, wanted=2, limit=3, window_seconds=900), "+1 so far, +2 requested, limit +3 in 15 min"),
        (verdict(value=5, limit=6, window_seconds=3600), "5 of 6 actions in 60 min"),
        (verdict(limit_seconds=300), "0 s left of 300 s"),
        (verdict("freeze"), "no freeze in force"),
        (
            verdict("policy", outcome="not_evaluated", message="No policy engine is configured."),
            "No policy engine is configured.",
        ),
        (verdict("of tomorrow"), ""),
        (verdict(outcome="deny", message="9 would exceed 8.", value=9, limit=8, current=8), "9 would exceed 8."),
    ],
)
def test_a_verdict_is_explained_by_its_value_and_limit(said: dict[str, Any], words: str) -> None:
    assert explain(said) == words


def test_a_deferral_shows_the_time_of_the_next_decision() -> None:
    deferred = verdict(outcome="defer", message="Too soon.") | {"until": "2026-11-24T12:41:07.250+00:00"}
    assert explain(deferred).startswith("Too soon. Again at ")
    assert explain(deferred).endswith(":07.")


@pytest.mark.parametrize(
    ("type_", "change", "words"),
    [
        ("SCALE", {"replicas": 3}, "dev/erp: Scaled from 2 to 3 replicas"),
        ("RESTART", {"value": "id"}, "dev/erp: Restarted all pods"),
        ("PATCH", {"patch": {"spec": {"paused": True}}}, "dev/erp: Patched spec.paused"),
    ],
)
def test_a_change_is_said_in_one_line(type_: str, change: dict[str, Any], words: str) -> None:
    target = {"kind": "Deployment", "namespace": "dev", "name": "erp"}
    action = {"type": type_, "target": target, "before": {"replicas": 2}, "change": change}
    assert change_of(action) == words


@pytest.mark.parametrize(
    ("states", "planned"),
    [
        (["", "applying", "verifying", "succeeded"], 0),
        (["", "pending", "applying", "applying", "applying", "verifying", "succeeded"], 3),
    ],
    ids=["planned with its admission", "claimed, planned, and planned again"],
)
def test_a_write_is_shown_from_its_last_plan_to_its_response(states: list[str], planned: int) -> None:
    timeline = [
        {"at": str(at), "from_state": here, "to_state": there, "message": f"{here} to {there}"}
        for at, (here, there) in enumerate(pairwise(states))
    ]
    at, said = timeline_of_write({"timeline": timeline})
    assert at == str(planned)
    assert list(said) == [("", timeline[planned]["message"]), ("", "applying to verifying")]


def test_output_fits_the_screen_and_has_no_colour_outside_of_a_terminal() -> None:
    stream = io.StringIO()
    screen, long = Screen(stream), "word " * 60
    screen.quote("POST /v1/signals/rca", {f"key {number}": long[:20] for number in range(20)})
    screen.event(0.25, "decided", long, "32")
    screen.detail("allow  max_replicas ", long)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= WIDTH
    assert "\x1b" not in stream.getvalue()


def test_a_uid_is_on_one_line_whatever_its_letters() -> None:
    stream, uid = io.StringIO(), "aaaaaaaa-aaaa-4aaa-aaaa-aaaaaaaaaaaa"
    Screen(stream).detail(f"{'allow':<35} ", f"2 replicas, uid {uid}")
    assert [line.split() for line in stream.getvalue().splitlines()] == [["allow", "2", "replicas,", "uid"], [uid]]


def test_the_commands_of_the_last_page_fit_the_screen_and_post_json() -> None:
    token = f"smo_{'x' * 12}_{'y' * 38}"
    handles = {"url": "http://127.0.0.1:65535", "token": token, "kubeconfig": "/a b/kubeconfig"}
    for _, command in commands(handles, Path("/a b")):
        if command.startswith("curl"):
            assert max(map(len, command.splitlines())) <= WIDTH
            stubbed = f'curl() {{ printf %s "${{@: -1}}"; }}; {command}'
            body = subprocess.run(
                ["bash", "-c", stubbed], capture_output=True, text=True, check=True, timeout=PATIENCE
            ).stdout
            assert json.loads(body).keys() & {"deployment", "windowId"}


def test_child_processes_get_no_settings_of_another_database_or_cluster() -> None:
    given = {"PATH": "/bin", "KUBECONFIG": "production", "DATABASE_URL": "production", "SMARTOPS_OPA_URL": "x"}
    assert environment(given) == {"PATH": "/bin", "PYTHONUNBUFFERED": "1"}
