"""Processes of their own, on the database and the cluster of the test."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from django.conf import settings
from django.db import InternalError, connection

from signals.lib.notifications import CHANNEL, connect
from smartops.dev.demo.processes import TETHER
from smartops.dev.postgres import RECONCILER_ROLE, WEB_ROLE
from tests.kit.patience import PATIENCE

ROOT = Path(settings.BASE_DIR)
PASSWORD = "of-the-tests"  # noqa: S105 - the private server asks for none


def let_roles_log_in() -> None:
    """As the private server lets them. On a server of yours, `migrate` creates the roles without a login."""
    with connection.cursor() as cursor:
        for role in (WEB_ROLE, RECONCILER_ROLE):
            cursor.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = %s", [role])
            if cursor.fetchone() == (False,):
                with suppress(InternalError):  # another worker of the tests does it at this moment
                    cursor.execute(f"ALTER ROLE {role} LOGIN PASSWORD '{PASSWORD}'")


def environment(role: str = WEB_ROLE, **more: str) -> dict[str, str]:
    """Of a process that shall use the test's database, with the privileges of this role."""
    database = connection.settings_dict
    place = f"{quote(database['HOST'], safe='')}:{database['PORT']}"
    password = database["PASSWORD"] if role == database["USER"] else PASSWORD
    user = ":".join(quote(part, safe="") for part in (role, password) if part)
    url = f"postgresql://{user}@{place}/{database['NAME']}"
    return {**os.environ, "DATABASE_URL": url, "SMARTOPS_LOG_LEVEL": "WARNING", **more}


def start(
    command: Sequence[str], log: Path, variables: Mapping[str, str], inherits: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """It ends when we do, even if we are killed. `inherits`: descriptors of ours."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [*TETHER, str(os.getpid()), *command],
            cwd=ROOT, env=variables, pass_fds=inherits, stdout=output, stderr=output,
        )  # fmt: skip


@contextmanager
def running(command: Sequence[str], log: Path, variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """It must end well when told to. What fails meanwhile is told with its log."""
    process = start(command, log, variables)
    try:
        yield process
        process.terminate()
        assert process.wait(PATIENCE) == 0
    except AssertionError as error:
        error.add_note(f"{log.name}: {log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        process.kill()
        process.wait(PATIENCE)


@contextmanager
def reconcilers(number: int, kubeconfig: Path, log: Path) -> Iterator[None]:
    """`manage.py reconcile`, side by side. They must have nothing to complain of."""
    command = [sys.executable, "manage.py", "reconcile"]
    variables = environment(RECONCILER_ROLE, SMARTOPS_KUBECONFIG=str(kubeconfig), PGAPPNAME="a reconciler")
    with ExitStack() as started:
        for _ in range(number):
            started.enter_context(running(command, log, variables))
        until(lambda: sessions("a reconciler", f"LISTEN {CHANNEL}") == number)
        yield
    assert log.read_text() == ""


def sessions(application: str, statement: str = "%") -> int:
    """How many connections to the test's database an application has, whose last statement was like this."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = %s AND query LIKE %s",
            [application, statement],
        )
        return int(cursor.fetchone()[0])


def until(holds: Callable[[], bool], timeout: float = PATIENCE) -> None:
    """Returns when it holds; looks whenever a row changed, and again and again, ever less often: no row says that a
    process has ended."""
    deadline, pause = monotonic() + timeout, 0.01
    with connect() as session:
        session.execute(f"LISTEN {CHANNEL}")
        while not holds():
            left = deadline - monotonic()
            assert left > 0, "it did not come to hold in time"
            pause = min(2 * pause, 0.25)
            for _ in session.notifies(timeout=min(pause, left), stop_after=1):
                pass
