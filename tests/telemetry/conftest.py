"""An installation whose processes tell of themselves, and an agent that talks to it."""

import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from smartops.tokens import Scope, issue
from tests.closed_loop.conftest import NAMESPACE, World, world
from tests.conformance.closed_loop.installation import Installation
from tests.telemetry.collector import Collector, collecting


class Agent:
    def __init__(self, installation: Installation) -> None:
        self.token = issue("agent", Scope, ())
        self._address = installation.address

    def post(self, path: str, body: Any, **headers: str) -> Any:
        return json.loads(self.request("POST", path, json.dumps(body), **headers)[1])

    def request(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, bytes]:
        """The answer's status and body."""
        named = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"} | headers
        with closing(HTTPConnection(*self._address, timeout=30)) as connection:
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as one:
        send_spans_to(one.address, monkeypatch)
        yield one


def send_spans_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the processes that the test starts."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")  # ms


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def anomaly(service: str, window: str = "w-1", **fields: Any) -> dict[str, Any]:
    body = {"windowId": window, "service": service, "isAnomaly": True, "score": 0.95, "type": "resource"}
    return body | {"metadata": {"namespace": NAMESPACE}} | fields


__all__ = ["Agent", "World", "anomaly", "collector", "log", "send_spans_to", "world"]
