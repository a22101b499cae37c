"""A real Prometheus scrapes a real web process and a real reconciler; every query of ours has its metrics there."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from smartops.tokens import Scope, issue
from tests.closed_loop.conftest import World, deployment
from tests.prometheus.files import alerts, dashboard, metric_names, panel_queries
from tests.prometheus.installation import Prometheus, get, post, reconciler, until, unused_port, web
from tests.test_docs import first_cells, page, section

# What has nothing to show where nothing goes wrong, and where no policy engine is configured.
QUIET = {"Trouble", "Workloads that are not ready"}


class Installation(NamedTuple):
    prometheus: Prometheus
    addresses: dict[str, str]
    token: str

    def post(self, path: str, **body: object) -> int:
        return post(f"http://{self.addresses['web']}{path}", body, self.token)


@pytest.fixture
def installation(world: World, tmp_path: Path) -> Iterator[Installation]:
    world.deploy(deployment("erp-simulator", replicas=2))
    ports = {"web": unused_port(), "reconciler": unused_port()}
    addresses = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    prometheus = Prometheus(tmp_path, addresses)
    with ExitStack() as started:
        started.enter_context(web(ports["web"], tmp_path / "web.log"))
        started.enter_context(reconciler(ports["reconciler"], world.sandbox.kubeconfig, tmp_path / "reconciler.log"))
        started.enter_context(prometheus.running())
        until(lambda: prometheus.value("sum(up)") == 2, "not both were scraped")
        yield Installation(prometheus, addresses, issue("an agent", Scope, []))


def test_a_real_prometheus_has_an_answer_to_every_query(installation: Installation) -> None:
    prometheus = installation.prometheus
    an_ordinary_minute(installation)

    of_web, of_reconciler = (get(f"http://{address}/metrics") for address in installation.addresses.values())
    assert lint(of_web) == lint(of_reconciler) == ""
    assert ours(of_web) | ours(of_reconciler) == set(first_cells(section(page("docs/operations.md"), "## Metrics")))
    assert "smartops_orchestrator_last_pass_timestamp_seconds" in ours(of_reconciler) - ours(
        of_web
    )  # it would be 0 there
    exposed = series(of_web) | series(of_reconciler)
    for alert in alerts():
        assert metric_names(alert["expr"]) <= exposed, alert["alert"]
    for title, query in panel_queries():
        assert metric_names(query) <= exposed, title
        assert prometheus.query(query) or title in QUIET, (title, query)
    (variable,) = [one["query"]["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    assert metric_names(variable) - {"namespace"} <= exposed
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule["health"], rule["state"]) for rule in rules] == [
        (alert["alert"], "ok", "inactive") for alert in alerts()
    ]


def an_ordinary_minute(installation: Installation) -> None:
    """Of each kind one: a signal that leads to a verified change, one that has to wait, a direct action, a refusal. On
    return Prometheus has seen them all."""
    seen = installation.prometheus.value
    trouble = {"service": "erp-simulator", "isAnomaly": True, "score": 0.95, "type": "resource"}
    assert installation.post("/v1/signals/anomaly", windowId="win-1", **trouble) == 202
    ended = 'sum(orchestrator_closed_loop_actions_total{type="scale", status="success"})'
    until(lambda: seen(ended) == 1, "the signal's action was not seen to end well")
    assert installation.post("/v1/signals/anomaly", windowId="win-2", **trouble) == 202
    assert installation.post("/v1/k8s/restart", deployment="erp-simulator") == 200
    assert installation.post("/v1/k8s/scale", deployment="erp-simulator", replicas=99) == 400
    until(lambda: seen("sum(smartops_orchestrator_direct_actions_total)") == 1, "the direct action was not seen")
    until(lambda: seen("sum(smartops_orchestrator_direct_refusals_total)") == 1, "the refusal was not seen")
    until(lambda: seen("sum(orchestrator_closed_loop_queue_deferred)") == 1, "what waits was not seen")


def families(exposition: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.MULTILINE))


def ours(exposition: str) -> set[str]:
    return {name for name in families(exposition) if name.startswith(("smartops_", "orchestrator_"))}


def series(exposition: str) -> set[str]:
    """The names of all that there are or may come to be."""
    parts = {"histogram": ("_bucket", "_count", "_sum")}
    return {name + part for name, type_ in families(exposition).items() for part in parts.get(type_, ("",))}


def lint(exposition: str) -> str:
    """What `promtool check metrics` finds wrong."""
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=exposition, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
