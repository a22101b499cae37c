import gc
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import dj_database_url
import hypothesis
import psycopg_pool.base
import pytest
from django.conf import settings

from signals.lib.partitions import Unended
from smartops.dev import postgres

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("smartops", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("smartops")

pytest.register_assert_rewrite("tests.kit")
pytest_plugins = ["tests.kit.api", "tests.kit.world"]  # their fixtures are everybody's


gc.set_threshold(50_000, 20, 20)  # imports and collected tests are hundreds of thousands of objects that stay


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: with the fixtures torn down
    if tracer := tracer_of(config):
        from tests.kit import pure  # its assertions are rewritten from here on

        pure.import_all()
        tracer.stop()


def pytest_collection(session: pytest.Session) -> None:
    """All pure modules are imported. Tracing takes a third of the time of what is traced for nothing."""
    if tracer := tracer_of(session.config):
        tracer.stop()  # that of a worker, which has begun with the session


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """In a fresh clone, no test module is compiled yet. Each worker imports all of them, and begins at a place of its
    own: so one worker compiles a module, and the others load what it has written."""
    report = yield
    worker = getattr(collector.config, "workerinput", None)
    if worker and isinstance(collector, pytest.Session | pytest.Directory):
        number = int(worker["workerid"].removeprefix("gw"))
        begin = len(report.result) * number // worker["workercount"]
        report.result = [*report.result[begin:], *report.result[:begin]]
    return report


# A file runs on one worker. The files that take or wait longest begin first: one that began last would run alone. All
# workers have the same order.
LONGEST = (
    "smartops/console/test_screens.py", "demo", "failover", "conformance/closed_loop", "concurrency/test_limits.py",
    "smartops/people/test_walk_console.py", "smartops/api/test_fuzz.py", "smartops/console",
    "prometheus/test_scrape.py", "telemetry", "test_benchmarks.py", "test_postgres.py", "orchestrator", "closed_loop",
    "crash", "concurrency", "smartops/people", "smartops/oidc", "smartops/edge", "smartops/test_asgi.py", "chart",
    "sandbox", "conformance",
)  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    places = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    files = {item.nodeid.partition("::")[0] for item in items}
    order = {file: min((places[one] for one in places if file.startswith(one)), default=len(places)) for file in files}
    is_worker = hasattr(config, "workerinput")
    items.sort(key=lambda item: (order[file := item.nodeid.partition("::")[0]], file if is_worker else ""))


def pytest_collection_finish() -> None:
    gc.freeze()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """The branches of the pure modules are those that tests of pure code take. A branch that only hypothesis takes is
    taken by chance. `trylast`: what pytest does around the function is traced for nothing."""
    tracer = tracer_of(pyfuncitem.config)
    if tracer is None or pyfuncitem.get_closest_marker("hypothesis") or needs_database(pyfuncitem):
        return (yield)
    tracer.start()
    try:
        return (yield)
    finally:
        tracer.stop()


def tracer_of(config: pytest.Config) -> Any:
    """Of pytest-cov, if the tests are to be traced."""
    plugin: Any = config.pluginmanager.get_plugin("_cov")
    return plugin and plugin.cov_controller.cov


def needs_database(item: pytest.Item) -> bool:
    used = {"db", "transactional_db", "django_db_setup"}.intersection(getattr(item, "fixturenames", ()))
    return bool(used or item.get_closest_marker("django_db"))


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    # Models cannot be imported before the settings are read.
    from tests.kit import history, middlewares, processes, templates

    with django_db_blocker.unblock():
        processes.let_roles_log_in()
    with pytest.MonkeyPatch.context() as patch:
        history.quicken_flush(patch)
        middlewares.run_directly(patch)
        templates.signal_pages_alone(patch)
        # A pool connects on a thread, at any time. Hypothesis would take its random number for one of a strategy.
        patch.setattr(psycopg_pool.base, "random", Random().random)  # noqa: S311 - no secret
        yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    """What this process knows from other tests: the bounds of their rows, and how many of their sign-ins and refusals
    were stored. A hook costs each test a tenth of what a fixture costs."""
    from smartops.console import trends  # models cannot be imported before the settings are read
    from smartops.web import access_log

    access_log._window = access_log.Window(monotonic())
    try:
        return (yield)
    finally:
        Unended.forget_all()  # also what the fixtures have read
        trends.CLOSED_SIGNALS.forget()
        trends.CLOSED_ACTIONS.forget()


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """The URI of the PostgreSQL under test: `DATABASE_URL`, else a server of this session's own."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    from tests.kit import database  # as above

    with tempfile.TemporaryDirectory(prefix="smartops-tests-", dir=database.in_memory()) as directory:
        try:
            yield database.start(Path(directory)).uri
        finally:
            postgres.stop(Path(directory))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, database_url: str
) -> Iterator[None]:
    """Point Django, and the processes that tests start, to that server: the first database test starts it."""
    from tests.kit import database  # as above

    parsed = dj_database_url.parse(database_url)
    settings.DATABASES["default"].update({key: parsed[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")})
    # A transaction of a test may idle for long on a busy machine.
    options: Any = settings.DATABASES["default"]["OPTIONS"]
    options["options"] = "-c idle_in_transaction_session_timeout=0"
    with pytest.MonkeyPatch.context() as patch:
        if "DATABASE_URL" not in os.environ:
            database.use_migrated(patch)
        patch.setenv("DATABASE_URL", database_url)
        yield
