"""The PostgreSQL of a test process: a copy of one whose database has been migrated for the same code before.

A copy takes a tenth of the time of a new server and its migrations. The original is in `.test-state`, for all test
processes and all later runs.
"""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import django
import psycopg
import pytest
from django.conf import settings
from django.db.backends.base.creation import BaseDatabaseCreation

from smartops.dev import postgres
from tests.kit.pages import ROOT

STATE = ROOT / ".test-state"
APPS = ("signals", "guardrails", "orchestrator", "smartops")
NAME = "test_smartops"
MIGRATE = (sys.executable, "-m", "django", "migrate", "--verbosity=0")
MEMORY, ROOM = Path("/dev/shm"), 4 << 30  # noqa: S108 - bytes: a server of the tests needs less than 1 GB


def digest(root: Path = ROOT) -> str:
    """Of what a migrated database depends on: the code of all apps, the installed packages, what the environment sets,
    who owns the files, and the month, as its partitions begin with that."""
    found = sha256()
    for path in sorted(path for app in APPS for path in (root / app).rglob("*.py")):
        found.update(f"{path.relative_to(root)}\n{path.stat().st_size}\n".encode() + path.read_bytes())
    packages = sorted(path.name for path in Path(django.__file__).parents[1].glob("*.dist-info"))
    variables = sorted(one for one in os.environ.items() if one[0].startswith("SMARTOPS_"))
    others = (packages, variables, sys.version, os.geteuid(), f"{datetime.now(UTC):%Y-%m}")
    return sha256(found.digest() + repr(others).encode()).hexdigest()[:32]


def in_memory() -> Path | None:
    """Where a copy takes an eighth of the time that a disk takes. None: there is too little memory."""
    has_room = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    return MEMORY if has_room else None


def start(directory: Path) -> postgres.Server:
    """A server of one's own, which has the migrated database NAME. A crash of the machine may lose its data."""
    STATE.mkdir(exist_ok=True)
    directory.mkdir(parents=True, exist_ok=True)
    with postgres.locked(STATE):
        original = STATE / digest()
        if not original.exists():
            _make(original)
        copy(original, directory)
    return postgres.start(directory, durable=False)


def copy(stopped: Path, to: Path) -> None:
    """The data of a server that does not run, into an existing directory."""
    subprocess.run(["cp", "-a", str(stopped / "data"), str(to)], check=True)


def start_migrated(directory: Path) -> postgres.Server:
    """The same, and the migrated database has the name that those of installations have."""
    server = start(directory)
    with psycopg.connect(server.uri, dbname="postgres", autocommit=True) as session:
        session.execute(f"DROP DATABASE {postgres.DATABASE}")
        session.execute(f"ALTER DATABASE {NAME} RENAME TO {postgres.DATABASE}")
    return server


def _make(original: Path) -> None:
    """Removes the originals of other code."""
    for old in STATE.iterdir():
        postgres.stop(old)  # left by a process that was killed
        shutil.rmtree(old)
    new = original.with_suffix(".new")
    uri = postgres.start(new, durable=False).uri
    try:
        with psycopg.connect(uri, autocommit=True) as session:
            session.execute(f"CREATE DATABASE {NAME}")
        variables = os.environ | {"DJANGO_SETTINGS_MODULE": "smartops.settings", "DATABASE_URL": _of(uri)}
        subprocess.run(MIGRATE, cwd=ROOT, env=variables, check=True)
    finally:
        postgres.stop(new)
    new.rename(original)


def _of(uri: str) -> str:
    return f"{uri.rpartition('/')[0]}/{NAME}"


def use_migrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of a database that Django creates and migrates at the first test that needs one."""

    def create(creation: BaseDatabaseCreation, *_: Any, **__: Any) -> str:
        connection = creation.connection
        connection.close()
        settings.DATABASES[connection.alias]["NAME"] = connection.settings_dict["NAME"] = NAME
        return NAME

    monkeypatch.setattr(BaseDatabaseCreation, "create_test_db", create)
    # The server is removed with its databases.
    monkeypatch.setattr(BaseDatabaseCreation, "destroy_test_db", lambda creation, *_, **__: creation.connection.close())
