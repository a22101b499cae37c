"""For an installation whose processes tell of themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.telemetry.collector import Collector, collecting


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
