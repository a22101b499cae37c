"""Answers that no API server should give, and what is made of them. Whatever comes: a request is sent once."""

import json
import socket
import struct
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from prometheus_client import REGISTRY

from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import (
    ClusterError,
    Conflict,
    DisruptionBudget,
    Forbidden,
    Invalid,
    NotFound,
    Refused,
    Throttled,
    TimedOut,
    Unknown,
    Unreached,
)
from orchestrator.k8s.events import EventType, KubernetesEvent
from orchestrator.k8s.types import Preconditions, WorkloadKey
from tests.kit.patience import PATIENCE, eventually
from tests.orchestrator.k8s.stub import Answer, Stub, deployment, hang_up, http, kubeconfig

ERP = WorkloadKey("dev", "erp")
WHOLE = json.dumps(deployment())
TIMEOUT = 0.5  # of a call that is not answered


@pytest.fixture
def cluster(stub: Stub, tmp_path: Path) -> KubernetesCluster:
    return KubernetesCluster(kubeconfig(tmp_path / "kubeconfig", stub.url), timeout=PATIENCE)


@pytest.fixture
def hasty(stub: Stub, tmp_path: Path) -> KubernetesCluster:
    return KubernetesCluster(kubeconfig(tmp_path / "kubeconfig", stub.url), timeout=TIMEOUT)


def sends(answer: bytes) -> Answer:
    return lambda connection: connection.sendall(answer)


def status(code: int, message: str = "no") -> bytes:
    return http(json.dumps({"kind": "Status", "code": code, "message": message}), f"{code} No")


def resets(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def trickles(stub: Stub, drop: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(http("", length=10_000) if drop else b"")
        while not stub.over.wait(0.02):
            connection.sendall(drop)

    return answer


UNREADABLE = {
    "hangs up": hang_up,
    "resets": resets,
    "no HTTP": sends(b"SSH-2.0-OpenSSH_9.9\r\n"),
    "empty": sends(http("")),
    "no content": sends(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "HTML": sends(http("<html>Welcome</html>", headers="Content-Type: text/html\r\n")),
    "null": sends(http("null")),
    "another object": sends(http('{"kind": "Status", "status": "Success"}')),
    "not UTF-8": sends(http(b'{"metadata": "\xff"}')),
    "nested too deeply": sends(http("[" * 100_000)),
    "truncated": sends(http(WHOLE[:40], length=len(WHOLE))),
    "truncated without a length": sends(b"HTTP/1.1 200 OK\r\n\r\n" + WHOLE[:40].encode()),
    "truncated chunks": sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + WHOLE[:5].encode()),
    "not gzip": sends(http(WHOLE, headers="Content-Encoding: gzip\r\n")),
    "truncated refusal": sends(http('{"kind"', status="409 Conflict", length=99)),
    "internal error": sends(status(500)),
    "unavailable, try again": sends(http("", "503 Service Unavailable", "Retry-After: 1\r\n")),
    "redirect": sends(http("", "307 Temporary Redirect", "Location: /elsewhere\r\n")),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_write_without_a_readable_answer_is_unknown_and_sent_once(
    stub: Stub, cluster: KubernetesCluster, answer: Answer
) -> None:
    stub.answer = answer
    with pytest.raises(ClusterError) as caught:
        cluster.scale_workload(ERP, 3)
    assert type(caught.value) is Unknown
    assert len(stub.requests) == 1


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_read_without_a_readable_answer_is_unknown_too(
    stub: Stub, cluster: KubernetesCluster, answer: Answer
) -> None:
    stub.answer = answer
    with pytest.raises(ClusterError) as caught:
        cluster.get_workload(ERP)
    assert type(caught.value) is Unknown
    assert len(stub.requests) == 1


def test_an_eviction_is_never_repeated(stub: Stub, cluster: KubernetesCluster) -> None:
    stub.answer = sends(http("", "503 Service Unavailable", "Retry-After: 1\r\n"))
    with pytest.raises(Unknown):
        cluster.delete_pod("dev", "erp-1", uid="uid-1")
    [(line, body)] = stub.requests
    assert line == "POST /api/v1/namespaces/dev/pods/erp-1/eviction HTTP/1.1"
    assert json.loads(body) == {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"namespace": "dev", "name": "erp-1"},
        "deleteOptions": {"preconditions": {"uid": "uid-1"}},
    }


def test_an_eviction_that_a_budget_forbids_is_refused_and_not_throttled(stub: Stub, cluster: KubernetesCluster) -> None:
    refusal = json.loads(status(429, "Cannot evict pod.").partition(b"\r\n\r\n")[2])
    cause = {"reason": "DisruptionBudget", "message": "The disruption budget erp needs 2 healthy pods and has 2."}
    stub.answer = sends(http(json.dumps(refusal | {"details": {"causes": [cause]}}), "429 Too Many Requests"))
    with pytest.raises(DisruptionBudget, match="The disruption budget erp needs 2 healthy pods and has 2") as caught:
        cluster.delete_pod("dev", "erp-1", uid="uid-1")
    assert not isinstance(caught.value, Throttled)
    assert len(stub.requests) == 1


def test_an_event_names_its_object_and_its_teller(stub: Stub, cluster: KubernetesCluster) -> None:
    stub.answer = sends(http("{}", "201 Created"))
    note = KubernetesEvent(
        ERP, "uid-1", EventType.WARNING, "Frozen", "alice froze dev until it is lifted: release", "id-1"
    )
    cluster.create_event(note, datetime(2026, 1, 1, tzinfo=UTC))
    [(line, body)] = stub.requests
    assert line == "POST /api/v1/namespaces/dev/events?fieldManager=smartops HTTP/1.1"
    assert json.loads(body) == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": "dev", "name": note.name},
        "involvedObject": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "namespace": "dev",
            "name": "erp",
            "uid": "uid-1",
        },
        "type": "Warning",
        "reason": "Frozen",
        "message": "alice froze dev until it is lifted: release",
        "source": {"component": "smartops"},
        "reportingComponent": "smartops.io/orchestrator",
        "firstTimestamp": "2026-01-01T00:00:00+00:00",
        "lastTimestamp": "2026-01-01T00:00:00+00:00",
        "count": 1,
    }


@pytest.mark.parametrize(
    ("resource", "namespace", "asked"),
    [
        ("deployments", "dev", {"group": "apps", "resource": "deployments", "namespace": "dev"}),
        ("deployments", "", {"group": "apps", "resource": "deployments", "namespace": ""}),
        ("pods/eviction", "dev", {"resource": "pods", "subresource": "eviction", "namespace": "dev", "group": ""}),
    ],
)
@pytest.mark.parametrize("allowed", [True, False])
def test_the_server_says_what_we_may(
    stub: Stub, cluster: KubernetesCluster, resource: str, namespace: str, asked: dict[str, str], allowed: bool
) -> None:
    stub.answer = sends(http(json.dumps({"status": {"allowed": allowed, "reason": "RBAC"}}), "201 Created"))
    assert cluster.can_i("patch", asked["group"], resource, namespace) is allowed
    [(line, body)] = stub.requests
    assert line == "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews HTTP/1.1"
    attributes = json.loads(body)["spec"]["resourceAttributes"]
    assert {"subresource": ""} | asked | {"verb": "patch"} == attributes


@pytest.mark.parametrize("answer", ["{}", "[]", '{"status": null}', '{"status": {"allowed": "yes"}}'])
def test_an_answer_that_says_neither_yes_nor_no_is_unknown(stub: Stub, cluster: KubernetesCluster, answer: str) -> None:
    stub.answer = sends(http(answer, "201 Created"))
    with pytest.raises(Unknown):
        cluster.can_i("patch", "apps", "deployments", "dev")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (status(400), Invalid),
        (status(401), Forbidden),
        (status(403), Forbidden),
        (status(404), NotFound),
        (http("no route", "404 Not Found"), Refused),
        (status(409), Conflict),
        (status(422), Invalid),
        (http("Too many requests", "429 Too Many Requests", "Retry-After: 1\r\n"), Throttled),
    ],
)
def test_a_refused_write_is_sent_once(
    stub: Stub, cluster: KubernetesCluster, answer: bytes, kind: type[ClusterError]
) -> None:
    stub.answer = sends(answer)
    with pytest.raises(ClusterError) as caught:
        cluster.restart_workload(ERP, "action-1")
    assert type(caught.value) is kind
    assert len(stub.requests) == 1


def test_retry_after_is_handed_on(stub: Stub, cluster: KubernetesCluster) -> None:
    stub.answer = sends(http("Too many requests", "429 Too Many Requests", "Retry-After: 7\r\n"))
    with pytest.raises(Throttled) as caught:
        cluster.scale_workload(ERP, 3)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("pace", ["silent", "trickling"])
def test_a_call_ends_at_its_timeout_however_the_answer_is_delayed(
    stub: Stub, hasty: KubernetesCluster, pace: str
) -> None:
    stub.answer = trickles(stub, b" " if pace == "trickling" else b"")
    started = monotonic()
    with pytest.raises(TimedOut):
        hasty.scale_workload(ERP, 3)
    assert TIMEOUT * 0.9 < monotonic() - started < 60  # all that trickles takes 200 s
    eventually(lambda: bool(stub.requests))  # the stub may read it after we have given it up
    assert len(stub.requests) == 1


def test_a_refusal_whose_body_trickles_ends_at_the_timeout(stub: Stub, hasty: KubernetesCluster) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(http("", "409 Conflict", length=10_000))
        while not stub.over.wait(0.02):
            connection.sendall(b" ")

    stub.answer = answer
    with pytest.raises(TimedOut):
        hasty.scale_workload(ERP, 3)


def test_each_request_carries_the_credentials_that_the_library_has_by_then(
    stub: Stub, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.k8s.connection.CREDENTIALS_PERIOD", 0.0)
    tokens = iter(["first", "second"])

    def refresh(configuration: Any) -> None:
        configuration.api_key["authorization"] = f"Bearer {next(tokens)}"

    configuration = cluster._connection._client.configuration
    configuration.api_key["authorization"] = "Bearer expired"
    configuration.refresh_api_key_hook = refresh
    stub.answer = sends(http(WHOLE))

    cluster.get_workload(ERP)
    cluster.get_workload(ERP)

    assert ["authorization: Bearer first" in stub.heads[0], "authorization: Bearer second" in stub.heads[1]] == [
        True
    ] * 2


def test_a_server_address_with_a_path_is_a_prefix_of_each_request(stub: Stub, tmp_path: Path) -> None:
    stub.answer = sends(http(WHOLE))
    KubernetesCluster(kubeconfig(tmp_path / "kubeconfig", f"{stub.url}/k8s/clusters/c-1")).get_workload(ERP)
    [(line, _)] = stub.requests
    assert line == "GET /k8s/clusters/c-1/apis/apps/v1/namespaces/dev/deployments/erp HTTP/1.1"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_a_server_with_an_ipv6_address_is_reached(tmp_path: Path) -> None:
    stub = Stub("::1")
    try:
        stub.answer = sends(http(WHOLE))
        KubernetesCluster(kubeconfig(tmp_path / "kubeconfig", stub.url)).get_workload(ERP)
        assert stub.url.startswith("http://[::1]:")
        assert "host: [::1]:" in stub.heads[0].lower()
    finally:
        stub.close()


def test_a_proxy_for_plain_http_receives_the_absolute_url(stub: Stub, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "kubeconfig", "http://api.example.com")
    config = json.loads(path.read_text())
    config["clusters"][0]["cluster"]["proxy-url"] = stub.url
    path.write_text(json.dumps(config))
    stub.answer = sends(http(WHOLE))
    KubernetesCluster(path).get_workload(ERP)
    [(line, _)] = stub.requests
    assert line == "GET http://api.example.com/apis/apps/v1/namespaces/dev/deployments/erp HTTP/1.1"


def test_nobody_listening_is_unreached(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(Unreached):
        KubernetesCluster(kubeconfig(tmp_path / "kubeconfig", url)).scale_workload(ERP, 3)


def test_a_server_without_tls_is_a_failed_call(stub: Stub, tmp_path: Path) -> None:
    stub.answer = sends(http(WHOLE))
    config = kubeconfig(tmp_path / "kubeconfig", stub.url.replace("http:", "https:"))
    with pytest.raises(Unknown, match="SSL"):
        KubernetesCluster(config).get_workload(ERP)


@pytest.mark.parametrize("content", ["", "{}", "]["])
def test_a_kubeconfig_that_says_nothing_is_unreached(tmp_path: Path, content: str) -> None:
    (tmp_path / "kubeconfig").write_text(content)
    with pytest.raises(Unreached):
        KubernetesCluster(tmp_path / "kubeconfig")


def test_outside_of_a_pod_the_environment_names_the_kubeconfig(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "kubeconfig", stub.url)))
    stub.answer = sends(http(WHOLE))
    assert KubernetesCluster().get_workload(ERP).uid == "uid-1"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../../secrets/x", "a?b", "A", "-a", "a" * 254, "a\n"])
def test_a_name_that_would_address_something_else_is_never_sent(
    stub: Stub, cluster: KubernetesCluster, name: str
) -> None:
    for call in (
        lambda: cluster.delete_pod("dev", name, uid="uid-1"),
        lambda: cluster.delete_pod(name, "erp-1", uid="uid-1"),
        lambda: cluster.scale_workload(WorkloadKey("dev", name), 3),
        lambda: cluster.get_workload(WorkloadKey(name, "erp")),
        lambda: cluster.list_pods(name),
    ):
        with pytest.raises(Invalid):
            call()
    assert stub.requests == []


def patch_sent(stub: Stub) -> dict[str, Any]:
    [(line, body)] = stub.requests
    assert line.startswith("PATCH /apis/apps/v1/namespaces/dev/deployments/erp?fieldManager=smartops")
    sent: dict[str, Any] = json.loads(body)
    return sent


def test_a_write_carries_its_preconditions_and_its_action(stub: Stub, cluster: KubernetesCluster) -> None:
    stub.answer = sends(http(WHOLE))
    cluster.scale_workload(ERP, 4, preconditions=Preconditions("uid-1", "77"), action="action-1")
    assert patch_sent(stub) == {
        "metadata": {"uid": "uid-1", "resourceVersion": "77", "annotations": {"smartops.io/action": "action-1"}},
        "spec": {"replicas": 4},
    }


def test_a_patch_keeps_its_own_metadata_but_not_its_own_preconditions(stub: Stub, cluster: KubernetesCluster) -> None:
    stub.answer = sends(http(WHOLE))
    patch = {
        "metadata": {"labels": {"tier": "web"}, "uid": "uid-0", "annotations": {"smartops.io/action": "x", "a": "b"}}
    }
    cluster.patch_workload(ERP, patch, preconditions=Preconditions("uid-1", "77"), action="action-1")
    assert patch_sent(stub)["metadata"] == {
        "labels": {"tier": "web"},
        "uid": "uid-1",
        "resourceVersion": "77",
        "annotations": {"smartops.io/action": "action-1", "a": "b"},
    }
    assert patch["metadata"]["uid"] == "uid-0"


def test_a_restart_writes_its_value_to_the_pod_template(stub: Stub, cluster: KubernetesCluster) -> None:
    stub.answer = sends(http(WHOLE))
    cluster.restart_workload(ERP, "action-1")
    template = patch_sent(stub)["spec"]["template"]
    assert template == {"metadata": {"annotations": {"smartops.io/restart": "action-1"}}}


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_calls_errors_and_results_are_counted_under_their_names(stub: Stub, cluster: KubernetesCluster) -> None:
    def figures() -> list[float]:
        patches = {"verb": "patch", "resource": "deployments"}
        return [
            sample("smartops_k8s_api_calls_total", **patches),
            sample("smartops_k8s_api_latency_seconds_count", **patches),
            sample("smartops_k8s_api_errors_total", **patches, code="409"),
            sample("smartops_k8s_api_errors_total", **patches, code="Unknown"),
            *(sample("smartops_k8s_scale_total", result=result) for result in ("success", "refused", "unknown")),
            sample("smartops_k8s_restart_total", result="success"),
            sample("smartops_k8s_patch_total", result="success"),
        ]

    before = figures()
    stub.answer = sends(http(WHOLE))
    cluster.scale_workload(ERP, 3)
    cluster.scale_workload(ERP, 3, dry_run=True)
    cluster.restart_workload(ERP, "action-1")
    cluster.patch_workload(ERP, {})
    for answer, error in ((status(409), Conflict), (http(""), Unknown)):
        stub.answer = sends(answer)
        with pytest.raises(error):
            cluster.scale_workload(ERP, 3)
    assert [now - then for now, then in zip(figures(), before, strict=True)] == [6, 6, 1, 1, 1, 1, 1, 1, 1]
