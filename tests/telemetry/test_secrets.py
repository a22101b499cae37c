"""No secret of the configuration leaves the processes: a test plants a word in each, and searches for it everywhere."""

import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from django.db import connection
from django.views.debug import get_default_exception_reporter_filter

from orchestrator.models import Action, DecisionRecord
from signals.models import Signal
from tests.kit.installation import Agent, installed
from tests.kit.patience import PATIENCE
from tests.kit.policy_engine import Handler, says, serving
from tests.kit.processes import environment, ran, until
from tests.kit.signals import NAMESPACE, anomaly_body
from tests.kit.world import World, deployment
from tests.telemetry.collector import Collector

CANARY = "canary"


def with_credentials(url: str, name: str, query: str = "") -> str:
    parts = urlsplit(url)
    netloc = f"{parts.username or 'user'}:{CANARY}-{name}@{parts.netloc.rpartition('@')[2]}"
    return parts._replace(netloc=netloc, query=query or parts.query).geturl()


def kubeconfig(original: Path, copy: Path) -> Path:
    """The same, with a token, and with credentials and a parameter in the address."""
    document = yaml.safe_load(original.read_text())
    for one in document["clusters"]:
        one["cluster"]["server"] = with_credentials(one["cluster"]["server"], "server", f"key={CANARY}-server-query")
    for one in document["users"]:
        one["user"] = {"token": f"{CANARY}-kubernetes"}
    copy.write_text(yaml.safe_dump(document))
    return copy


def planted() -> dict[str, str]:
    """For the processes, which share one login here; the policy engine and the kubeconfig are the test's."""
    database = environment(connection.settings_dict["USER"])["DATABASE_URL"]
    return {
        "DATABASE_URL": with_credentials(database, "database"),
        "DATABASE_LISTEN_URL": with_credentials(database, "listen"),
        "SMARTOPS_SECRET_KEY": f"{CANARY}-secret-key",
        "SMARTOPS_TOKEN_PEPPERS": f"{CANARY}-pepper",
        "SMARTOPS_OIDC_ISSUER": "http://127.0.0.1:9",
        "SMARTOPS_OIDC_CLIENT_ID": "smartops",
        "SMARTOPS_OIDC_CLIENT_SECRET": f"{CANARY}-client",
        "SMARTOPS_OIDC_ROLES": '{"sre": "operator"}',
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{CANARY}-header,{CANARY} malformed",
        "SMARTOPS_LOG_LEVEL": "DEBUG",
        "SMARTOPS_LOG_FORMAT": "json",
    }


def everything_stored() -> str:
    texts = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            name = connection.ops.quote_name(table)
            cursor.execute(f"SELECT coalesce(string_agg(one::text, ' '), '') FROM {name} one")  # noqa: S608
            texts.append(cursor.fetchone()[0])
    return "\n".join(texts)


def answers(agent: Agent) -> list[str]:
    """Of every kind of request."""
    paths = [f"/v1/actions/{one}" for one in Action.objects.values_list("pk", flat=True)]
    paths += [f"/v1/signals/{one}" for one in Signal.objects.values_list("pk", flat=True)]
    paths += ["/v1/actions", "/v1/signals", "/v1/guardrails?workload=erp-simulator", "/v1/openapi.json", "/v1/none"]
    paths += [
        "/metrics",
        "/readyz",
        "/healthz",
        "/",
        "/sign-in/oidc/",
        f"/v1/signals?limit={CANARY}",
        f"/v1/none?key={CANARY}",
    ]
    refused = agent.call("GET", "/v1/signals", Authorization="Bearer smo_wrong")
    return [text for _, text in (*(agent.call("GET", path) for path in paths), refused)]


def scraped(address: tuple[str, int]) -> str:
    texts = []
    for path in ("/metrics", "/readyz", "/healthz"):
        client = HTTPConnection(*address, timeout=PATIENCE)
        client.request("GET", path)
        texts.append(client.getresponse().read().decode())
        client.close()
    return "\n".join(texts)


def hang_up(handler: Handler) -> None:
    handler.close_connection = True


def test_a_planted_secret_is_found_nowhere(world: World, collector: Collector, log: Path, tmp_path: Path) -> None:
    world.deploy(deployment("erp-simulator", ready_after="0"), deployment("other", ready_after="0"))
    world.settle("erp-simulator")
    cluster, found = kubeconfig(world.sandbox.kubeconfig, tmp_path / "kubeconfig"), list[str]()
    with serving() as engine, pytest.MonkeyPatch.context() as here:
        url = with_credentials(engine.url, "engine", f"key={CANARY}-engine-query")
        here.setattr("smartops.tokens.settings.SMARTOPS_TOKEN_PEPPERS", [f"{CANARY}-pepper"])
        with installed(cluster, NAMESPACE, log, reconcilers=1, **planted(), SMARTOPS_OPA_URL=url) as installation:
            agent = Agent(installation.address)
            agent.post("/v1/signals/anomaly", anomaly_body(NAMESPACE, "erp-simulator"))
            until(lambda: Action.objects.filter(state="succeeded").exists())
            for answer in (says({"allow": False, "reason": f"See {url}"}), hang_up):
                engine.answer = answer
                found.append(json.dumps(agent.post("/v1/k8s/restart", {"deployment": "other"})))
            agent.post("/v1/signals/anomaly", anomaly_body(NAMESPACE, "other"))
            until(lambda: DecisionRecord.objects.filter(reason="PolicyUnavailable").count() == 2)
            found += [*answers(agent), *map(scraped, installation.metrics)]
    paths = [one.attributes.get("url.path") for one in collector.spans]  # the processes have ended
    found += [everything_stored(), log.read_text(), repr(collector.spans)]

    assert "/v1/none" in paths
    assert [text for text in found if CANARY in text] == []
    assert agent.token.split("_")[2] not in "\n".join(found)
    engines = {one["details"].get("engine") for row in DecisionRecord.objects.all() for one in row.verdicts}
    assert engines - {None} == {engine.url}  # the address alone


def complaint(command: list[str], variables: dict[str, str]) -> str:
    """What a command prints that fails."""
    code, printed = ran(["manage.py", *command], variables)
    assert code, printed
    return printed


@pytest.mark.parametrize(
    "given",
    [
        {"DATABASE_URL": f"postgresql://u:{CANARY} x@db/smartops"},
        {
            "SMARTOPS_OPA_URL": f"ftp://u:{CANARY}@opa/x?{CANARY}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://u:{CANARY}@collector:4317",
        },
        {
            "SMARTOPS_OPA_URL": f"http://u:{CANARY} x@opa/x",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"http://collector:4317?{CANARY}",
        },
    ],
)
def test_a_check_names_the_variables_and_not_their_values(db: None, given: dict[str, str]) -> None:
    printed = complaint(["check"], environment() | given)

    assert [name for name in given if name not in printed] == []
    assert CANARY not in printed


@pytest.mark.parametrize("server", [f"https://u:{CANARY}@host:port", f"https://u:{CANARY}@[::1/?{CANARY}"])
def test_a_kubeconfig_that_cannot_be_used_is_not_quoted(transactional_db: None, tmp_path: Path, server: str) -> None:
    file = tmp_path / "kubeconfig"
    entry: dict[str, Any] = {"name": "x", "cluster": {"server": server}, "user": {"token": CANARY}}
    context = {"name": "x", "context": {"cluster": "x", "user": "x"}}
    kinds = {"clusters": [entry], "users": [entry], "contexts": [context], "current-context": "x"}
    file.write_text(yaml.safe_dump(kinds))

    assert CANARY not in complaint(["reconcile", "--drain"], environment(SMARTOPS_KUBECONFIG=str(file)))


def test_a_kubeconfig_that_is_not_yaml_is_not_quoted(transactional_db: None, tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(f"users: [{{token: *{CANARY}}}]")

    printed = complaint(["reconcile", "--drain"], environment(SMARTOPS_KUBECONFIG=str(file)))

    assert CANARY not in printed
    assert "line 1: it is not YAML" in printed


def test_a_debug_page_hides_urls_and_keys() -> None:
    shown = get_default_exception_reporter_filter().get_safe_settings()

    hidden = {"SECRET_KEY", "SMARTOPS_TOKEN_PEPPERS", "SMARTOPS_OPA_URL", "DATABASE_LISTEN_URL"}
    assert {shown[name] for name in hidden} == {"********************"}
    assert shown["SMARTOPS_NAMESPACE"] == "smartops-dev"
