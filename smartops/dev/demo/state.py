"""The directory a demo lives in: one demo at a time, its secrets, and `demo.json`, which says where everything is."""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class DemoError(RuntimeError):
    """Why there is no demo: in words for the person who typed `make demo`."""


@dataclass(slots=True)
class Credentials:
    """Kept from start to start, as the database that they belong to. An empty token has not been issued yet."""

    secret_key: str
    admin_password: str
    token: str = ""

    @classmethod
    def of(cls, state: Path) -> "Credentials":
        path = _credentials(state)
        if path.exists():
            return cls(**json.loads(path.read_text()))
        fresh = cls(secret_key=secrets.token_urlsafe(48), admin_password=secrets.token_urlsafe(12))
        fresh.save(state)
        return fresh

    def save(self, state: Path) -> None:
        write_private(_credentials(state), asdict(self))


def _credentials(state: Path) -> Path:
    return state / "credentials.json"


def write_private(path: Path, document: dict[str, Any]) -> None:
    """All of it or nothing, and for its owner's eyes only."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    fresh.replace(path)


@contextmanager
def claimed(state: Path) -> Iterator[None]:
    """The directory belongs to this process until it leaves, or dies."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / "lock").open("a+")
    except OSError as error:
        raise DemoError(f"{state} cannot be used: {error.strerror}. Try make demo STATE=/another/directory") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            raise DemoError(
                f"A demo runs in {state} already (pid {owner}). Stop it, or try make demo STATE=another PORT=8001"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        (state / "demo.json").unlink(missing_ok=True)  # of a demo that was killed
        try:
            yield
        finally:
            (state / "demo.json").unlink(missing_ok=True)


def listen(port: int) -> socket.socket:
    """Taken before anything starts; who connects before the web process accepts, waits in line. Port 0: any."""
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier demo may linger
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise DemoError(f"Port {port} cannot be used: {error.strerror}. Try make demo PORT={port + 1}") from error
    return listener


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
