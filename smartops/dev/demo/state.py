"""The state directory of a demo: a lock for one demo at a time, its credentials, and while it runs `demo.json` with all
addresses, and `env` with the same for a shell."""

import fcntl
import json
import os
import secrets
import shlex
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class DemoError(RuntimeError):
    """The demo cannot run; the message is for the user of `make demo`."""


@dataclass(slots=True)
class Credentials:
    """Kept between runs, like the database that they belong to. The token is empty until one is issued."""

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
        write_private(_credentials(state), json.dumps(asdict(self), indent=2))


def _credentials(state: Path) -> Path:
    return state / "credentials.json"


def write_handles(state: Path, handles: Mapping[str, Any], settings: Mapping[str, str]) -> None:
    """`settings` are the environment variables of the demo's processes. A shell that reads `env` has them, too, so that
    `manage.py` works on the database of the demo, with its keys."""
    shell = {"URL": handles["url"], "TOKEN": handles["token"], "KUBECONFIG": handles["kubeconfig"]}
    shell |= {"SANDBOX": handles["sandbox"] or "", **settings}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in shell.items()]
    write_private(state / "env", "\n".join(lines))
    write_private(state / "demo.json", json.dumps(handles, indent=2))


def remove_handles(state: Path) -> None:
    for name in ("demo.json", "env"):
        (state / name).unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Write the file atomically, readable by its owner only."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")
    fresh.replace(path)


@contextmanager
def claimed(state: Path) -> Iterator[None]:
    """Lock the directory for this process until the block ends or the process dies."""
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
        remove_handles(state)  # of a demo that was killed
        try:
            yield
        finally:
            remove_handles(state)


def listen(port: int) -> socket.socket:
    """Bind the port before anything starts; early connections wait until the web process accepts them. 0: any port."""
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
