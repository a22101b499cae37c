"""Processes of their own, on the database and the cluster of the test."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import monotonic
from urllib.parse import quote

from django.conf import settings
from django.db import InternalError, connection

from signals.lib.notifications import CHANNEL, connect
from smartops.dev.postgres import RECONCILER_ROLE, WEB_ROLE
from tests.kit import forked
from tests.kit.patience import PATIENCE

ROOT = Path(settings.BASE_DIR)
PASSWORD = "of-the-tests"  # noqa: S105 - the private server asks for none
FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(["tests.kit.loaded"])


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


def start(command: Sequence[forked.Word], log: Path, variables: Mapping[str, str]) -> BaseProcess:
    """It ends when we do, even if we are killed. A command of words for Python, `manage.py …` or `-m module …`, is
    forked from a server that has everything imported; any other is executed. A socket in the command is passed on: the
    command has its descriptor."""
    process = FORKS.Process(target=forked.run, args=(command, ROOT, log, dict(variables)), daemon=True)
    process.start()
    return process


def ended(process: BaseProcess) -> int | None:
    """Its exit code, as soon as it has one; of a signal, its negative number. None if it has none in time."""
    process.join(PATIENCE)
    return process.exitcode


def ran(command: Sequence[forked.Word], variables: Mapping[str, str]) -> tuple[int, str]:
    """The exit code of a command that ends by itself, and what it printed on both outputs."""
    with NamedTemporaryFile() as log:
        process = start(command, Path(log.name), variables)
        code, printed = ended(process), log.read().decode()
        process.kill()
    assert code is not None, f"{command} did not end: {printed}"
    return code, printed


@contextmanager
def running(command: Sequence[forked.Word], log: Path, variables: Mapping[str, str]) -> Iterator[BaseProcess]:
    """It must end well when told to. What fails meanwhile is told with its log."""
    process = start(command, log, variables)
    try:
        yield process
        process.terminate()
        assert ended(process) == 0
    except AssertionError as error:
        error.add_note(f"{log.name}: {log.read_text(errors='replace')[-2000:]}")
        raise
    finally:
        process.kill()
        ended(process)


@contextmanager
def reconcilers(number: int, kubeconfig: Path, log: Path) -> Iterator[None]:
    """`manage.py reconcile`, side by side. They must have nothing to complain of."""
    command = ["manage.py", "reconcile"]
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
