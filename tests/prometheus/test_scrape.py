"""A real Prometheus scrapes a real web process and a real reconciler; every query of ours has its metrics there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.kit.installation import Agent, installed
from tests.kit.pages import first_cells, page, section
from tests.kit.patience import eventually
from tests.kit.signals import NAMESPACE, anomaly_body
from tests.kit.world import World, deployment
from tests.prometheus.files import alerts, dashboard, metric_names, panel_queries
from tests.prometheus.server import Prometheus, get

# What has nothing to show where nothing goes wrong, and where no policy engine is configured.
QUIET = {"Errors", "Workloads with missing replicas"}


class Scraped(NamedTuple):
    prometheus: Prometheus
    addresses: dict[str, str]
    agent: Agent


@pytest.fixture
def scraped(world: World, tmp_path: Path) -> Iterator[Scraped]:
    world.deploy(deployment("erp-simulator", replicas=2))
    program = (sys.executable, "manage.py")  # each kind of process has the metrics of what it alone imports
    with installed(world.sandbox.kubeconfig, NAMESPACE, tmp_path / "log", 1, program) as installation:
        places = {"web": installation.address, "reconciler": installation.metrics[0]}
        addresses = {name: f"{host}:{port}" for name, (host, port) in places.items()}
        prometheus = Prometheus(tmp_path, addresses)
        with prometheus.running():
            eventually(lambda: prometheus.value("sum(up)") == 2, "not both were scraped")
            yield Scraped(prometheus, addresses, Agent(installation.address))


def test_a_real_prometheus_has_an_answer_to_every_query(scraped: Scraped) -> None:
    prometheus = scraped.prometheus
    an_ordinary_minute(scraped)

    of_web, of_reconciler = (get(f"http://{address}/metrics") for address in scraped.addresses.values())
    assert lint(of_web) == lint(of_reconciler) == ""
    assert ours(of_web) | ours(of_reconciler) == set(first_cells(section(page("docs/operations.md"), "## Metrics")))
    turned = "smartops_orchestrator_last_pass_timestamp_seconds"
    assert turned in ours(of_reconciler) - ours(of_web)  # it would be 0 there
    exposed = series(of_web) | series(of_reconciler)
    for alert in alerts():
        assert metric_names(alert["expr"]) <= exposed, alert["alert"]
    for title, query in panel_queries():
        assert metric_names(query) <= exposed, title
        if title not in QUIET:  # a rate needs two scrapes, and what moves between them
            eventually(partial(is_answered, scraped, query), f"{title} had no answer: {query}")
    (variable,) = [one["query"]["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query"]
    assert metric_names(variable) - {"namespace"} <= exposed
    quiet = [(alert["alert"], "ok", "inactive") for alert in alerts()]
    eventually(lambda: states(prometheus) == quiet, "not every alert was inactive")


def an_ordinary_minute(scraped: Scraped) -> None:
    """Of each kind one: a signal that leads to a verified change, one that has to wait, a direct action, a refusal. On
    return Prometheus has seen them all."""
    seen, agent = scraped.prometheus.value, scraped.agent
    assert agent.post("/v1/signals/anomaly", anomaly_body(NAMESPACE, "erp-simulator")).status == 202
    ended = 'sum(orchestrator_closed_loop_actions_total{type="scale", status="success"})'
    eventually(lambda: seen(ended) == 1, "the signal's action was not seen to end well")
    assert agent.post("/v1/signals/anomaly", anomaly_body(NAMESPACE, "erp-simulator")).status == 202
    assert agent.post("/v1/k8s/restart", {"deployment": "erp-simulator"}).status == 200
    assert agent.post("/v1/k8s/scale", {"deployment": "erp-simulator", "replicas": 99}).status == 400
    eventually(lambda: seen("sum(smartops_orchestrator_direct_actions_total)") == 1, "the direct action was not seen")
    eventually(lambda: seen("sum(smartops_orchestrator_direct_refusals_total)") == 1, "the refusal was not seen")
    eventually(lambda: seen("sum(orchestrator_closed_loop_queue_deferred)") == 1, "what waits was not seen")


def is_answered(scraped: Scraped, query: str) -> bool:
    scraped.agent.get("/v1/actions")
    return scraped.prometheus.answers(query)


def states(prometheus: Prometheus) -> list[tuple[str, str, str]]:
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    return [(rule["name"], rule["health"], rule["state"]) for rule in rules]


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
