"""Processes of their own, on the database and the cluster of the test."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from signals.wakeups import CHANNEL, connect

ROOT = Path(settings.BASE_DIR)


def environment(**more: str) -> dict[str, str]:
    """Of a process that shall use the test's database."""
    database = connection.settings_dict
    place = f"{quote(database['HOST'], safe='')}:{database['PORT']}"
    user = ":".join(quote(part, safe="") for part in (database["USER"], database["PASSWORD"]) if part)
    patience = quote("-c idle_in_transaction_session_timeout=2s")  # shorter than by default, to save the tests' time
    url = f"postgresql://{user}@{place}/{database['NAME']}?options={patience}"
    return {**os.environ, "DATABASE_URL": url, "SMARTOPS_LOG_LEVEL": "WARNING", **more}


@contextmanager
def reconcilers(number: int, kubeconfig: Path, log: Path) -> Iterator[None]:
    """`manage.py reconcile`, side by side. They must end well when told to, and have had nothing to complain of."""
    command = [sys.executable, str(ROOT / "manage.py"), "reconcile"]
    with log.open("w") as output:
        given = environment(SMARTOPS_KUBECONFIG=str(kubeconfig), PGAPPNAME="a reconciler")
        started = [subprocess.Popen(command, env=given, stderr=output) for _ in range(number)]
    try:
        until(lambda: sessions("a reconciler", f"LISTEN {CHANNEL}") == number)
        yield
        for process in started:
            process.terminate()
        assert [process.wait(timeout=20) for process in started] == [0] * number, log.read_text()
        assert log.read_text() == ""
    finally:
        for process in started:
            process.kill()
            process.wait(timeout=20)


def sessions(application: str, statement: str = "%") -> int:
    """How many connections to the test's database an application has, whose last statement was like this."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = %s AND query LIKE %s",
            [application, statement],
        )
        return int(cursor.fetchone()[0])


def until(holds: Callable[[], bool], timeout: float = 30.0) -> None:
    """Returns when it holds; looks whenever a row changed, and once a second."""
    deadline = monotonic() + timeout
    with connect() as session:
        session.execute(f"LISTEN {CHANNEL}")
        while not holds():
            left = deadline - monotonic()
            assert left > 0, "it did not come to hold in time"
            for _ in session.notifies(timeout=min(1.0, left), stop_after=1):
                pass
