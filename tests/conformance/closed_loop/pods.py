"""The chart's pods, run as processes of this machine: their own commands and variables, with its ports and files."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smartops.dev.demo.state import unused_port
from tests.chart.rendering import Object, variables
from tests.kit import processes
from tests.kit.patience import PATIENCE
from tests.kit.processes import ROOT, until

SECRETS = "/run/secrets/smartops"  # where the pods have them
PROGRAMS = {"python": (sys.executable,)}


def command(pod: Object, instead: dict[str, str]) -> list[str]:
    """Of its only container, with some words `instead` of others."""
    program, *words = pod["containers"][0]["command"]
    return [*PROGRAMS[program], *(instead.get(word, word) for word in words)]


def environment(pod: Object, secrets: Path) -> dict[str, str]:
    """What the pod says and nothing more, but for the place of its Secrets."""
    said = {name: value.replace(SECRETS, str(secrets)) for name, value in variables(pod).items()}
    return {"PATH": os.environ["PATH"], **said}


@contextmanager
def running(pod: Object, secrets: Path, log: Path, *more: str, **instead: str) -> Iterator[tuple[str, int]]:
    """Listening on the address. `more` words for its command, variables `instead` of what only a cluster has. It must
    end well when told to."""
    [port] = pod["containers"][0]["ports"]
    address = ("127.0.0.1", unused_port())
    words = [*command(pod, {str(port["containerPort"]): str(address[1])}), *more]
    with processes.running(words, log, environment(pod, secrets) | instead) as process:
        until(lambda: answers(address) or not process.is_alive())
        assert process.is_alive()
        yield address
    assert "Traceback" not in log.read_text(), log.read_text()


def ended(pod: Object, secrets: Path, instead: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """One that ends by itself."""
    return subprocess.run(
        command(pod, instead),
        cwd=ROOT, env=environment(pod, secrets), capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


def answers(address: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(address, timeout=1):
            return True
    except OSError:
        return False
