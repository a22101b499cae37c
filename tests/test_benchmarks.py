"""The benchmarks run, and the referee of limits can say no. How fast anything is, no test says."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.figures import Figure, Target, percentile
from benchmarks.record import Request, as_audited, as_recorded
from benchmarks.referee import Write, excesses

ROOT = Path(__file__).resolve().parent.parent
WORKLOADS = [{"kind": "Deployment", "metadata": {"name": "cart"}, "spec": {"replicas": 2}}]


def test_each_figure_has_its_baseline_and_their_ratio() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "ingest-batch", "reaction"]
    sandbox = os.environ | {"SMARTOPS_CONTROLPLANE": ""}
    ran = subprocess.run(command, cwd=ROOT, env=sandbox, capture_output=True, text=True, timeout=300, check=False)

    assert ran.returncode == 0, ran.stderr
    about, empty, *table = ran.stdout.splitlines()
    assert (empty, ran.stderr) == ("", ""), "nothing but the table: no log lines"
    assert all(line.startswith("| ") for line in table), about
    rows = [line.split(" | ") for line in table if line.startswith(("| ingest", "| reaction"))]
    assert [row[0] for row in rows] == ["| ingest-batch", "| ingest-batch", "| reaction", "| reaction"]
    assert [row[1] for row in rows] == ["", "", "sandbox", "sandbox"]
    assert all(row[3] and row[4].endswith("x") for row in rows[1:])


def test_an_unknown_benchmark_is_named() -> None:
    command = [sys.executable, "-m", "benchmarks", "speed"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    assert ran.returncode == 2
    assert "there is no speed" in ran.stderr


def test_a_figure_says_whether_its_target_was_reached() -> None:
    reached = Figure("work", 120.0, "/s", "less work", 150.0, 0.8, Target("ratio", "≥", 0.8))
    missed = Figure("work", 3.5, "s", target=Target("value", "≤", 3))

    assert (
        reached.row("name", "a cluster")
        == "| name | a cluster | work: 120/s | less work: 150/s | 0.80x | ≥ 0.80x | yes |"
    )
    assert missed.row("name") == "| name |  | work: 3.50 s |  |  | ≤ 3 s | no |"


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.99, 4.0), (0.25, 1.0)])
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value


def scales(*steps: tuple[float, int]) -> list[Write]:
    return [Write(at, "cart", replicas, f"action {at}") for at, replicas in steps]


@pytest.mark.parametrize(
    ("done", "fault"),
    [
        (scales((0, 3), (400, 4), (800, 5)), ""),
        (scales((0, 3), (299, 4)), "while it cooled down"),
        (scales((0, 3), (300, 4), (600, 6)), "more than 3 replicas added"),
        (scales((0, 3), (900, 6)), ""),
        (scales((0, 5), (1000, 8), (2000, 9)), "9 replicas"),
        (scales(*((400.0 * n, 2) for n in range(7))), "more than 6 SCALE within an hour"),
        (scales(*((601.0 * n, 2) for n in range(7))), ""),
        ([Write(0, "cart", None, "one"), Write(300, "cart", 3, "one")], "one action, several writes"),
    ],
)
def test_the_referee_finds_every_excess(done: list[Write], fault: str) -> None:
    found = excesses(WORKLOADS, done)

    assert found == [] if not fault else any(fault in one for one in found)


def test_both_clusters_record_a_write_alike() -> None:
    path = "/apis/apps/v1/namespaces/smartops-dev/deployments/cart?fieldManager=smartops&dryRun=All"
    patch = {"metadata": {"annotations": {"smartops.io/action": "one"}}, "spec": {"replicas": 3}}
    sandbox = {"time": 5.25, "method": "PATCH", "path": path, "body": json.dumps(patch), "status": 200}
    audited = {
        "verb": "patch",
        "requestURI": path,
        "objectRef": {"resource": "deployments", "namespace": "smartops-dev", "name": "cart"},
        "responseStatus": {"code": 200},
        "requestObject": patch,
        "requestReceivedTimestamp": "1970-01-01T00:00:05.250000Z",
    }

    recorded = as_recorded(sandbox)

    assert recorded == as_audited(audited) == Request(5.25, "patch", "deployments", "cart", 200, True, patch)
    assert recorded.action == "one"
    assert not recorded.wrote
    assert replace(recorded, dry_run=False).wrote
