"""Telling never stands in the way of doing: the collector may be silent, or not be there at all."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

import pytest

from orchestrator.models import Action
from signals.lib.tracing import GRACE
from tests.kit.installation import Agent, installed
from tests.kit.patience import PATIENCE
from tests.kit.processes import ROOT, until
from tests.kit.signals import NAMESPACE, anomaly_body
from tests.kit.world import World, deployment
from tests.telemetry.collector import Collector, collecting
from tests.telemetry.conftest import send_spans_to

TELL = """
import sys, time
from signals.lib import tracing
assert tracing.start("test")
began = time.perf_counter()
for _ in range(int(sys.argv[1])):
    with tracing.step("one"):
        pass
print(time.perf_counter() - began, flush=True)
"""
MARGIN = 20.0  # seconds that a busy machine may take for what takes none; the SDK itself takes thirty


@contextmanager
def silent() -> Iterator[str]:
    """It takes connections, and never says a word."""
    with create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def stuck() -> Iterator[str]:
    """It takes spans, and does not come back."""
    with collecting() as collector, collector.stuck():
        yield collector.address


@contextmanager
def away() -> Iterator[str]:
    with create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield address


def tell(spans: int) -> tuple[float, float]:
    """The seconds that it took to make them, and those from then to the end of the process."""
    command = [sys.executable, "-c", TELL, str(spans)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        took = float(process.stdout.readline())
        began = time.monotonic()
        assert process.wait(PATIENCE) == 0
    return took, time.monotonic() - began


@pytest.mark.parametrize("collector_that_is", [silent, stuck, away])
def test_no_process_waits_for_a_collector_that_is(collector_that_is: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with collector_that_is() as address:  # type: ignore[operator]
        send_spans_to(address, monkeypatch)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")  # seconds: who waited for it would take as long
        took, ended = tell(5_000)  # more than twice what the queue takes

    assert took < 60
    assert ended < GRACE + MARGIN


def test_spans_that_are_pending_at_the_end_are_exported(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "60000")

    tell(10)

    assert len(collector.spans) == 10


def test_signals_are_handled_and_processes_end_as_if_there_were_no_traces(
    world: World, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = [f"service-{number}" for number in range(5)]
    world.deploy(*(deployment(service, ready_after="0") for service in services))
    with silent() as address:
        send_spans_to(address, monkeypatch)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")  # seconds: beyond the patience of the test
        with installed(world.sandbox.kubeconfig, NAMESPACE, log, reconcilers=1) as installation:
            batch = {"signals": [anomaly_body(NAMESPACE, service) for service in services]}
            Agent(installation.address).post("/v1/signals/batch", batch)
            until(lambda: Action.objects.filter(state="succeeded").count() == len(services))
            began = time.monotonic()
            installation.stop()
            ended = time.monotonic() - began

    assert ended < GRACE + MARGIN
