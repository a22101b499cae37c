"""A real Prometheus, with the rules as they are shipped."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from os import environ
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from smartops.dev.demo.state import unused_port
from tests.kit.patience import PATIENCE, eventually
from tests.kit.processes import running
from tests.prometheus.files import RULES


def get(url: str) -> str:
    with urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310
        return str(answer.read().decode())


class Prometheus:
    """Scrapes `targets` (name → host:port) four times a second, and evaluates the rules as often."""

    def __init__(self, directory: Path, targets: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{unused_port()}"
        self._directory = directory
        configuration = {
            "global": {"scrape_interval": "250ms", "evaluation_interval": "250ms"},
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
        with running(command, self._directory / "prometheus.log", environ):
            eventually(self._ready, "Prometheus did not start")
            yield

    def ask(self, path: str, **parameters: str) -> Any:
        answer = json.loads(get(f"{self.url}/api/v1/{path}?{urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, query: str) -> list[Any]:
        found: list[Any] = self.ask("query", query=query)["result"]
        return found

    def answers(self, query: str) -> bool:
        return self.query(query) != []

    def value(self, query: str) -> float:
        """Of a query with one result; 0 where it has none."""
        return float(next(iter(self.query(query)), {"value": [0, 0]})["value"][1])

    def _ready(self) -> bool:
        try:
            return "Ready" in get(f"{self.url}/-/ready")
        except OSError:
            return False
