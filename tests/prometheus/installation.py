"""A web process, a reconciler, and a Prometheus that scrapes both, as they are installed."""

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml

from tests.concurrency.processes import ROOT, environment
from tests.prometheus.files import RULES

PATIENCE = 60.0  # seconds


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def get(url: str) -> str:
    with urlopen(url, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())


def post(url: str, body: dict[str, Any], token: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        with urlopen(Request(url, json.dumps(body).encode(), headers), timeout=30) as answer:  # noqa: S310
            return int(answer.status)
    except URLError as error:
        return int(getattr(error, "code", 0))


def until(holds: Callable[[], bool], what: str) -> None:
    """Nothing tells of a scrape: it has to be looked for."""
    deadline = monotonic() + PATIENCE
    while not holds():
        assert monotonic() < deadline, what
        Event().wait(0.1)


@contextmanager
def running(*command: str, log: Path, **more: str) -> Iterator[None]:
    """A process that must end well when told to. What fails meanwhile is told with its log."""
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(**more), stdout=output, stderr=output)
    try:
        yield
        process.terminate()
        assert process.wait(PATIENCE) == 0
    except AssertionError as error:
        error.add_note(f"{log.name}: {log.read_text()[-2000:]}")
        raise
    finally:
        process.kill()
        process.wait(PATIENCE)


class Prometheus:
    """Scrapes `targets` (name → host:port) every second, and evaluates the rules as often."""

    def __init__(self, directory: Path, targets: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{unused_port()}"
        self._directory = directory
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": name, "static_configs": [{"targets": [target]}]} for name, target in targets.items()
            ],
        }
        (directory / "prometheus.yml").write_text(yaml.safe_dump(configuration))

    @contextmanager
    def running(self) -> Iterator[None]:
        command = [
            "prometheus",
            f"--config.file={self._directory}/prometheus.yml",
            f"--storage.tsdb.path={self._directory}/data",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            "--log.level=warn",
        ]
        with running(*command, log=self._directory / "prometheus.log"):
            until(self._ready, "Prometheus did not start")
            yield

    def ask(self, path: str, **parameters: str) -> Any:
        answer = json.loads(get(f"{self.url}/api/v1/{path}?{urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, query: str) -> list[Any]:
        found: list[Any] = self.ask("query", query=query)["result"]
        return found

    def value(self, query: str) -> float:
        """Of a query with one result; 0 where it has none."""
        return float(next(iter(self.query(query)), {"value": [0, 0]})["value"][1])

    def _ready(self) -> bool:
        try:
            return "Ready" in get(f"{self.url}/-/ready")
        except OSError:
            return False


def reconciler(port: int, kubeconfig: Path, log: Path) -> AbstractContextManager[None]:
    address = ["--metrics-host", "127.0.0.1", "--metrics-port", str(port)]
    return running(sys.executable, "manage.py", "reconcile", *address, log=log, SMARTOPS_KUBECONFIG=str(kubeconfig))


def web(port: int, log: Path) -> AbstractContextManager[None]:
    command = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-p", str(port), "smartops.asgi:application"]
    return running(*command, log=log, SMARTOPS_INSECURE_HTTP="1")
