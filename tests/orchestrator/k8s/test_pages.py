"""A list that a slow API server cannot answer at once: it comes in smaller pages, and ends in time nevertheless."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestrator.k8s import connection
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import ClusterError, TimedOut, Unknown
from signals.types import Kind
from tests.orchestrator.k8s.stub import Stub, deployment, http, kubeconfig

TIMEOUT = 0.1  # of a call; a page has three times as long
ALL = [f"web-{number}" for number in range(150)]


@pytest.fixture
def cluster(stub: Stub, tmp_path: Path) -> KubernetesCluster:
    return KubernetesCluster(kubeconfig(tmp_path / "kubeconfig", stub.url), timeout=TIMEOUT)


def asked(stub: Stub) -> list[tuple[int, int]]:
    """The limit and the position of each request."""
    queries = [parse_qs(urlsplit(line.split()[1]).query) for line, _ in stub.requests]
    return [(int(query["limit"][0]), int(query.get("continue", ["0"])[0])) for query in queries]


def lists(stub: Stub, fails: Callable[[int], bytes | None]) -> None:
    """Serves ALL in pages. `fails`: the answer to a page of so many items, b"" for none, None for the page."""

    def answer(client: socket.socket) -> None:
        limit, start = asked(stub)[-1]
        failure = fails(limit)
        if failure == b"":
            stub.over.wait(1)
            return
        end = min(start + limit, len(ALL))
        metadata = {"resourceVersion": "7", "continue": str(end) if end < len(ALL) else ""}
        page = {"metadata": metadata, "items": [deployment(name) for name in ALL[start:end]]}
        client.sendall(http(json.dumps(page)) if failure is None else failure)

    stub.answer = answer


def late(stub: Stub, seconds: float) -> Callable[[int], bytes | None]:
    """Each page comes after so many seconds."""

    def waits(_: int) -> None:
        stub.over.wait(seconds)

    return waits


@pytest.mark.parametrize(
    "failure",
    [b"", http('{"kind": "Status", "code": 504, "message": "Timeout"}', "504 No")],
    ids=["silent", "gives up"],
)
def test_a_page_that_does_not_come_in_time_is_asked_for_with_fewer_items(
    stub: Stub, cluster: KubernetesCluster, failure: bytes
) -> None:
    lists(stub, lambda limit: failure if limit > 100 else None)

    assert [each.key.name for each in cluster.list_workloads(Kind.DEPLOYMENT, "dev")] == ALL
    assert asked(stub) == [(500, 0), (100, 0), (100, 100)]

    cluster.list_workloads(Kind.DEPLOYMENT, "dev")
    assert asked(stub)[3:] == [(100, 0), (100, 100)], "the size that was too large is not tried again"


def test_a_list_goes_on_at_the_page_that_was_too_large(stub: Stub, cluster: KubernetesCluster) -> None:
    late = iter([None, b"", None, None, None])
    lists(stub, lambda limit: b"" if limit > 100 else next(late))

    assert [each.key.name for each in cluster.list_workloads(Kind.DEPLOYMENT, "dev")] == ALL
    assert asked(stub) == [(500, 0), (100, 0), (100, 100), (20, 100), (20, 120), (20, 140)]


def test_a_list_whose_smallest_page_does_not_come_in_time_has_timed_out(stub: Stub, cluster: KubernetesCluster) -> None:
    lists(stub, lambda _: b"")

    with pytest.raises(TimedOut):
        cluster.list_workloads(Kind.DEPLOYMENT, "dev")
    assert asked(stub) == [(500, 0), (100, 0), (20, 0)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [(http('{"kind": "Status", "code": 500, "message": "no"}', "500 No"), Unknown), (http("no JSON"), Unknown)],
)
def test_other_failures_of_a_list_are_not_repeated(
    stub: Stub, cluster: KubernetesCluster, answer: bytes, error: type[ClusterError]
) -> None:
    lists(stub, lambda _: answer)

    with pytest.raises(error):
        cluster.list_workloads(Kind.DEPLOYMENT, "dev")
    assert asked(stub) == [(500, 0)]


def test_all_pages_together_end_in_time(
    stub: Stub, cluster: KubernetesCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_LIST_TIME", 0.5)
    monkeypatch.setattr(connection, "PAGE_SIZE", 10)
    lists(stub, late(stub, 0.06))
    began = monotonic()

    with pytest.raises(TimedOut):
        cluster.list_workloads(Kind.DEPLOYMENT, "dev")
    assert 0.4 < monotonic() - began < 2
    assert 1 < len(stub.requests) < 15


def test_a_slow_page_does_not_lengthen_other_calls(stub: Stub, cluster: KubernetesCluster) -> None:
    lists(stub, late(stub, 0.2))
    assert len(cluster.list_workloads(Kind.DEPLOYMENT, "dev")) == len(ALL)

    stub.answer = lambda _: sleep(0.2)
    with pytest.raises(TimedOut):
        cluster.can_i("list", "apps", "deployments", "dev")
