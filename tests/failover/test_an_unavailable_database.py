"""PostgreSQL fails in many ways, under real processes: callers get 503 and may repeat, reads go on where they can, the
probes fail, the logs have no tracebacks, and everything recovers by itself."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlencode

import psycopg
import pytest

from smartops.database import FRESH
from smartops.dev.sandbox.sandbox import Sandbox
from tests.failover.primary import PASSWORD, SUPERUSER, Answer, Primary, Site, small_disk
from tests.kit.patience import eventually

READ_ONLY = "default_transaction_read_only = on"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("failover")
    primary = Primary(directory)
    try:
        with Sandbox() as sandbox:
            site = Site(primary, directory, sandbox.kubeconfig)
            try:
                yield site
            finally:
                site.close()
    finally:
        primary.stop()


@pytest.fixture(autouse=True)
def available(site: Site) -> Iterator[None]:
    """Each test begins with sessions in the pool, which are not fresh, and must leave everything working."""
    site.primary.terminate()
    eventually(lambda: site.post().status == 202)
    eventually(lambda: site.primary.youngest() > FRESH)
    yield
    site.primary.configure("")
    site.until_ready()
    eventually(lambda: site.post().status == 202)
    for name in ("web", "reconciler"):
        assert "Traceback" not in site.log(name), site.log(name)


def refused(answer: Answer) -> bool:
    """Whether the API says that the database is unavailable, and when to come again."""
    if answer.status != 503:
        return False
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.document["reason"] == "DatabaseUnavailable"
    assert int(answer.headers["Retry-After"]) > 0
    return True


def test_sessions_from_before_a_switchover_are_discarded(site: Site) -> None:
    """Sessions that are open refuse writes, new ones do not."""
    site.primary.sql("ALTER DATABASE smartops SET default_transaction_read_only = off")
    try:
        site.primary.configure(READ_ONLY)

        answers = [site.post() for _ in range(20)]

        assert all(one.status == 202 or refused(one) for one in answers)
        assert [one.status for one in answers[1:]] == [202] * 19
        eventually(lambda: site.is_ready() == (200, 200))
    finally:
        site.primary.sql("ALTER DATABASE smartops RESET default_transaction_read_only")


def test_an_idle_web_process_notices_a_switchover_by_its_probe(site: Site) -> None:
    site.primary.sql("ALTER DATABASE smartops SET default_transaction_read_only = off")
    try:
        site.primary.configure(READ_ONLY)

        assert site.is_ready()[0] == 200
        assert site.post().status == 202
    finally:
        site.primary.sql("ALTER DATABASE smartops RESET default_transaction_read_only")


def test_a_read_only_database_serves_reads_and_refuses_writes(site: Site) -> None:
    cookie = sign_in(site)
    logged = len(site.log("reconciler").splitlines())
    site.primary.configure(READ_ONLY)

    eventually(lambda: site.is_ready() == (503, 503))
    assert all(refused(site.post()) for _ in range(5))
    assert site.call("GET", "/v1/signals").status == 200
    assert site.call("GET", "/v1/actions").status == 200
    assert site.call("GET", "/console/", Cookie=cookie).status == 200
    assert site.call("GET", "/admin/signals/signal/", Cookie=cookie).status == 200
    assert site.call("POST", "/v1/signals/anomaly", "{}").status == 422
    login = sign_in_form(site)
    assert (login.status, "Retry-After" in login.headers) == (503, True)
    assert "unavailable" in login.text
    direct = site.call("POST", "/v1/k8s/restart", '{"namespace": "smartops-dev", "deployment": "nobody"}')
    assert refused(direct)

    outage = [line for line in site.log("reconciler").splitlines()[logged:] if "the database is unavailable" in line]
    assert len(outage) == 1
    assert "ReadOnlySqlTransaction" in outage[0]


def test_the_first_use_of_a_token_can_be_a_read_of_a_read_only_database(site: Site) -> None:
    token = site.manage("create_token", "a reader", "--scope=read").split()[-1]
    site.primary.configure(READ_ONLY)

    for _ in range(3):
        assert site.call("GET", "/v1/signals", Authorization=f"Bearer {token}").status == 200


def test_ended_sessions_cost_one_answer_at_most(site: Site) -> None:
    site.primary.terminate()

    answers = [site.post() for _ in range(20)]

    assert all(one.status == 202 or refused(one) for one in answers)
    assert [one.status for one in answers[1:]] == [202] * 19


def test_a_crash_of_the_server_is_an_outage(site: Site) -> None:
    """One backend is killed: PostgreSQL ends all others, and recovers."""
    os.kill(site.primary.backends()[0], signal.SIGKILL)

    eventually(lambda: answered(site.post) == 202)


def test_a_stopped_server_is_an_outage(site: Site) -> None:
    site.primary.stop()
    try:
        assert refused(site.post())
        assert site.call("GET", "/v1/signals").status == 503
        eventually(lambda: site.is_ready() == (503, 503))
    finally:
        site.primary.start()


def test_a_server_without_room_for_connections_is_an_outage(site: Site) -> None:
    site.primary.sql("ALTER DATABASE smartops CONNECTION LIMIT 0", SUPERUSER)
    try:
        site.primary.terminate()

        assert refused(site.post())
        eventually(lambda: site.is_ready() == (503, 503))
    finally:
        site.primary.sql("ALTER DATABASE smartops CONNECTION LIMIT -1", SUPERUSER)


def test_a_server_that_accepts_no_connections_is_noticed_in_time(site: Site) -> None:
    """Its kernel completes the connection, and nobody answers."""
    pid, backends = site.primary.pid, site.primary.backends()
    os.kill(pid, signal.SIGSTOP)
    try:
        for backend in backends:  # from now on, none begins
            with suppress(ProcessLookupError):
                os.kill(backend, signal.SIGTERM)
        eventually(lambda: refused(site.post()))  # as soon as the sessions have ended
        assert site.is_ready()[0] == 503
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_full_disk_refuses_what_needs_room(site: Site) -> None:
    with small_disk() as disk:
        site.primary.sql(f"CREATE TABLESPACE small LOCATION '{disk}'", SUPERUSER)
        try:
            site.primary.sql("GRANT CREATE ON TABLESPACE small TO smartops", SUPERUSER)
            site.primary.sql("ALTER TABLE signals_window SET TABLESPACE small")
            fill(disk / "filler")

            eventually(lambda: refused(site.post()))
            assert site.is_ready()[0] == 503
            assert site.call("GET", "/v1/signals").status == 200
            (disk / "filler").unlink()
            eventually(lambda: answered(site.post) == 202)
        finally:
            (disk / "filler").unlink(missing_ok=True)
            site.primary.sql("ALTER TABLE signals_window SET TABLESPACE pg_default")
            site.primary.sql("DROP TABLESPACE small", SUPERUSER)


def test_a_management_command_says_in_one_line_that_the_database_is_unavailable(site: Site) -> None:
    site.primary.configure(READ_ONLY)

    [line] = site.manage("create_token", "another", "--scope=read", code=1).splitlines()
    assert "ReadOnlySqlTransaction" in line


def test_the_sessions_of_the_pool_notice_a_peer_that_is_gone(site: Site) -> None:
    """The parameters reach libpq; a lost peer itself would take a network of its own."""
    from signals.lib.availability import DEADLINES

    with psycopg.connect(site.primary.url(), **DEADLINES) as session:  # type: ignore[arg-type]
        given = session.info.get_parameters()

    assert {name: given[name] for name in DEADLINES} == {name: str(value) for name, value in DEADLINES.items()}


def fill(file: Path) -> None:
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def answered(ask: Callable[[], Answer]) -> int:
    """The status, which must be 202 or that of an unavailable database."""
    answer = ask()
    assert answer.status == 202 or refused(answer), answer
    return answer.status


def sign_in(site: Site) -> str:
    """The cookie of a person who has signed in."""
    client = "from django.test import Client; client = Client()"
    user = "from django.contrib.auth.models import User; client.force_login(User.objects.get())"
    script = f"{client}; {user}; print(client.cookies['sessionid'].value)"
    return f"sessionid={site.manage('shell', '--no-imports', '-c', script).split()[-1]}"


def sign_in_form(site: Site) -> Answer:
    """Posts the form of the login page."""
    cookie = site.call("GET", "/admin/login/").headers["Set-Cookie"].split(";")[0]
    body = urlencode({"username": "ana", "password": PASSWORD, "csrfmiddlewaretoken": cookie.split("=")[1]})
    headers = {"Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    return site.call("POST", "/admin/login/", body, **headers)
