"""`manage.py retain` drops months while agents post, and while people change settings and export the audit."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import get_ident

import pytest
from django.apps import apps
from django.db import connection
from django.utils import timezone
from psycopg import sql
from pytest_django.fixtures import Settings

from guardrails.models import GuardrailSetting
from signals.lib import partitions
from signals.lib.notifications import connect
from signals.models import Observation, Problem, SettingChange, Signal
from smartops.audit.merge import stream
from smartops.audit.search import Search
from smartops.models import AuditExport, SignIn
from smartops.retention import drop, kept, months
from tests.kit.signals import anomaly, post
from tests.kit.threads import at_once
from tests.smartops.audit import rows
from tests.smartops.retention.test_retain import retain
from tests.smartops.retention.test_retain_signals import ids_of

pytestmark = pytest.mark.django_db(transaction=True)

OLD = (timezone.now() - timedelta(days=100)).replace(day=10)
POSTS = 15


@pytest.fixture
def a_database_with_old_months(settings: Settings) -> Iterator[None]:
    settings.SMARTOPS_RETAIN_SIGNALS_DAYS = settings.SMARTOPS_RETAIN_OBSERVATIONS_DAYS = 40
    settings.SMARTOPS_RETAIN_AUDIT_DAYS = 40
    yield
    with connection.cursor() as cursor:
        for label in partitions.PARTITION_BY:
            for one in months.stored(apps.get_model(label)):
                if one.month < timezone.now().date().replace(day=1):
                    cursor.execute(f"DROP TABLE {one.name}")


@pytest.mark.usefixtures(a_database_with_old_months.__name__)
def test_posts_about_the_signals_of_a_month_that_is_dropped_are_all_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"w{number}" for number in range(20)]
    with ids_of(OLD, monkeypatch):
        post(*map(anomaly, names))
    partitions.create_ahead()
    Signal.objects.update(state="ignored", closed_at=timezone.now() - timedelta(days=3))

    def agent() -> None:
        for number in range(POSTS):
            post(*(anomaly(name) for name in names[number % 3 :]))

    works: list[Callable[[], object]] = [agent, agent, agent, partial(retain, tmp_path)]
    at_once(works)
    retain(tmp_path)  # where the first one found the database too busy

    reports = 3 * sum(len(names[number % 3 :]) for number in range(POSTS))
    assert sum(Problem.objects.values_list("firing_count", flat=True)) == len(names) + reports
    assert Observation.objects.count() == reports
    assert sorted(Signal.objects.values_list("workload", flat=True)) == sorted(names), "the old ones are gone"
    assert set(Problem.objects.values_list("signal_id", flat=True)) == set(Signal.objects.values_list("pk", flat=True))


@pytest.mark.usefixtures(a_database_with_old_months.__name__)
def test_no_reader_waits_while_a_month_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ids_of(OLD, monkeypatch):
        post(anomaly("erp"))
    partitions.create_ahead()
    Signal.objects.update(state="ignored", closed_at=timezone.now() - timedelta(days=3))
    known, compared = kept.referred_by, list[str]()

    def read(partition: months.Partition) -> str:
        with connect() as session:
            session.execute("SET lock_timeout = '2s'")
            session.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(partition.table)))
        compared.append(partition.table)
        return known(partition)

    monkeypatch.setattr(drop, "referred_by", read)
    retain(tmp_path)

    assert "signals_signal" in compared
    assert not Signal.objects.exists()


@pytest.mark.usefixtures(a_database_with_old_months.__name__)
def test_changes_of_settings_sign_ins_and_exports_go_on_while_their_old_months_are_dropped(tmp_path: Path) -> None:
    for number in range(20):
        rows.set_to(OLD, operation="delete", key=f"old-{number}", before={}, after=None)
        rows.signed_in(OLD)
        rows.exported(OLD)
    partitions.create_ahead()

    def person() -> None:
        for number in range(POSTS):
            GuardrailSetting.objects.create(namespace=f"n{get_ident()}-{number}", max_replicas=9)
            rows.signed_in(timezone.now())

    def auditor() -> int:
        return sum(len(list(stream(rows.ADMIN, Search(), whole=True))) for _ in range(5))

    works: list[Callable[[], object]] = [person, person, auditor, partial(retain, tmp_path)]
    at_once(works)
    retain(tmp_path)  # where the first one found the database too busy

    assert SettingChange.objects.filter(table_name="guardrails_guardrailsetting").count() == 2 * POSTS
    assert (SignIn.objects.count(), AuditExport.objects.count()) == (2 * POSTS, 0)
    for table, count in (("signals_settingchange", 20), ("smartops_signin", 20), ("smartops_auditexport", 20)):
        assert json.loads((tmp_path / f"{table}{OLD:_%Y_%m}.json").read_text())["rows"] == count
