"""A list that a slow API server cannot answer at once: it comes in smaller pages, and ends in time nevertheless."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from urllib3 import Timeout

from orchestrator.k8s import connection, response
from orchestrator.k8s.client import KubernetesCluster
from orchestrator.k8s.errors import ClusterError, TimedOut, Unknown
from orchestrator.k8s.resources import DEPLOYMENTS
from signals.types import Kind
from tests.kit.simulation import SimulatedClock
from tests.orchestrator.k8s.stub import Stub, deployment, http, kubeconfig

TIMEOUT = 20.0  # of a call; a page has three times as long
ALL = [f"web-{number}" for number in range(150)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimulatedClock:
    """Of our calls. Only an answer takes time, as long as a test says."""
    clock = SimulatedClock()
    monkeypatch.setattr(connection, "monotonic", clock.monotonic)
    monkeypatch.setattr(response, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def cluster(stub: Stub, tmp_path: Path, clock: SimulatedClock) -> KubernetesCluster:
    return KubernetesCluster(kubeconfig(tmp_path / "kubeconfig", stub.url), timeout=TIMEOUT)


def asked(stub: Stub) -> list[tuple[int, int]]:
    """The limit and the position of each request."""
    queries = [parse_qs(urlsplit(line.split()[1]).query) for line, _ in stub.requests]
    return [(int(query["limit"][0]), int(query.get("continue", ["0"])[0])) for query in queries]


def lists(stub: Stub, fails: Callable[[int], bytes | None]) -> None:
    """Serves ALL in pages. `fails`: the answer to a page of so many items, None for the page."""

    def answer(client: socket.socket) -> None:
        limit, start = asked(stub)[-1]
        failure = fails(limit)
        end = min(start + limit, len(ALL))
        metadata = {"resourceVersion": "7", "continue": str(end) if end < len(ALL) else ""}
        page = {"metadata": metadata, "items": [deployment(name) for name in ALL[start:end]]}
        client.sendall(http(json.dumps(page)) if failure is None else failure)

    stub.answer = answer


def gives_up(_: SimulatedClock) -> bytes:
    return http('{"kind": "Status", "code": 504, "message": "Timeout"}', "504 No")


def is_late(clock: SimulatedClock) -> None:
    clock.advance(3 * TIMEOUT)


@pytest.mark.parametrize("fails", [is_late, gives_up])
def test_a_page_that_does_not_come_in_time_is_asked_for_with_fewer_items(
    stub: Stub, cluster: KubernetesCluster, clock: SimulatedClock, fails: Callable[[SimulatedClock], bytes | None]
) -> None:
    lists(stub, lambda limit: fails(clock) if limit > 100 else None)

    assert [each.key.name for each in cluster.list_workloads(Kind.DEPLOYMENT, "dev")] == ALL
    assert asked(stub) == [(500, 0), (100, 0), (100, 100)]

    cluster.list_workloads(Kind.DEPLOYMENT, "dev")
    assert asked(stub)[3:] == [(100, 0), (100, 100)], "the size that was too large is not tried again"


def test_a_list_goes_on_at_the_page_that_was_too_large(
    stub: Stub, cluster: KubernetesCluster, clock: SimulatedClock
) -> None:
    late = iter([False, True, False, False, False])
    lists(stub, lambda limit: is_late(clock) if limit > 100 or next(late) else None)

    assert [each.key.name for each in cluster.list_workloads(Kind.DEPLOYMENT, "dev")] == ALL
    assert asked(stub) == [(500, 0), (100, 0), (100, 100), (20, 100), (20, 120), (20, 140)]


def test_a_list_whose_smallest_page_does_not_come_in_time_has_timed_out(
    stub: Stub, cluster: KubernetesCluster, clock: SimulatedClock
) -> None:
    lists(stub, lambda _: is_late(clock))

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
    stub: Stub, cluster: KubernetesCluster, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PAGE_SIZE", 10)
    lists(stub, lambda _: clock.advance(59))

    with pytest.raises(TimedOut, match="The response was not complete in time"):
        cluster.list_workloads(Kind.DEPLOYMENT, "dev")
    assert asked(stub) == [(10, 10 * page) for page in range(6)]


def test_no_page_is_asked_for_after_the_time_of_all(
    stub: Stub, cluster: KubernetesCluster, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "PAGE_SIZE", 10)
    lists(stub, lambda _: None)
    pages = cluster._connection.pages(DEPLOYMENTS, lambda _: clock.advance(5), "dev", {})

    with pytest.raises(TimedOut, match="The list was not complete within 300 s"):
        list(pages)
    assert asked(stub) == [(10, 10 * page) for page in range(6)]


def test_a_slow_page_does_not_lengthen_other_calls(
    stub: Stub, cluster: KubernetesCluster, clock: SimulatedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []  # at most, by the sockets: they have a clock of their own

    def timeout(total: float) -> Timeout:
        waited.append(total)
        return Timeout(total=total)

    monkeypatch.setattr(connection, "Timeout", timeout)

    lists(stub, lambda _: clock.advance(2 * TIMEOUT))
    assert len(cluster.list_workloads(Kind.DEPLOYMENT, "dev")) == len(ALL)

    def answer(client: socket.socket) -> None:
        clock.advance(2 * TIMEOUT)
        client.sendall(http('{"status": {"allowed": true}}', "201 Created"))

    stub.answer = answer
    with pytest.raises(TimedOut):
        cluster.can_i("list", "apps", "deployments", "dev")
    assert waited == [3 * TIMEOUT, TIMEOUT]
