"""`manage.py retain` ends what persons have done, as the timeline of what SmartOps did. What is in force keeps the
changes that made it: the audit says who set a limit, and nobody approves what a token of theirs requests."""

import gzip
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestrator.models import Action, RefusedRequest
from signals.lib import partitions
from signals.models import Problem, SettingChange
from smartops.models import AuditExport, SignIn, Token
from smartops.people.approvals import requesters
from smartops.people.sessions import Session
from smartops.privileges import OURS
from smartops.retention import expired, months
from smartops.retention.months import Partition
from tests.kit.history import rewritable
from tests.kit.pages import page, section
from tests.kit.signals import anomaly, post
from tests.smartops.audit import rows
from tests.smartops.retention.test_retain import MONTH, OLD, after_forty_days, retain

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures(after_forty_days.__name__)]

HISTORY: tuple[type[Model], ...] = (SettingChange, RefusedRequest, SignIn, AuditExport)
OF_SETTINGS = f"signals_settingchange of {MONTH:%Y-%m}"
LIMITS, TOKENS = "guardrails_guardrailsetting", "smartops_token"
PERMANENT: dict[str, Any] = {"cluster": "", "namespace": "erp", "workload": ""}


def a_year_ago() -> None:
    """A row of each history, of a limit that was deleted soon after."""
    rows.set_to(OLD, key="7")
    rows.set_to(OLD + timedelta(hours=1), key="7", operation="delete", before=PERMANENT, after=None)
    rows.refused(OLD)
    rows.signed_in(OLD)
    rows.exported(OLD)
    partitions.create_ahead()


def old_rows(model: type[Model]) -> int:
    month = Partition(model, MONTH)
    return model._default_manager.filter(month.within(month.key)).count()


def test_what_persons_did_is_exported_with_its_manifest_and_dropped(tmp_path: Path) -> None:
    a_year_ago()
    assert [old_rows(model) for model in HISTORY] == [2, 1, 1, 1]

    retain(tmp_path)

    assert [old_rows(model) for model in HISTORY] == [0, 0, 0, 0]
    for model, count in zip(HISTORY, (2, 1, 1, 1), strict=True):
        name = f"{model._meta.db_table}{MONTH:_%Y_%m}"
        manifest = json.loads((tmp_path / f"{name}.json").read_text())
        lines = gzip.decompress((tmp_path / f"{name}.jsonl.gz").read_bytes()).decode().splitlines()
        assert (manifest["rows"], len(lines)) == (count, count)
        assert manifest["first"].startswith(f"{MONTH:%Y-%m-01}"), "the bounds are those of the time"
    assert "Exported" not in retain(tmp_path)


def test_the_months_that_are_not_old_enough_are_kept(tmp_path: Path, settings: Settings) -> None:
    a_year_ago()
    settings.SMARTOPS_RETAIN_AUDIT_DAYS = 200

    retain(tmp_path)

    assert [old_rows(model) for model in HISTORY] == [2, 1, 1, 1]


@pytest.mark.parametrize(
    ("later", "is_kept"),
    [
        ([], True),
        ([("update", 1, PERMANENT)], True),
        ([("update", 1, PERMANENT | {"until": "2020-01-01T00:00:00+00:00"})], False),
        ([("update", 1, PERMANENT | {"expires_at": "2999-01-01T00:00:00+00:00"})], True),
        ([("update", 1, PERMANENT | {"lifted_at": "2020-01-01T00:00:00+00:00"})], False),
        ([("update", 1, PERMANENT | {"revoked_at": "2020-01-01T00:00:00+00:00"})], False),
        ([("delete", 40 * 24, None)], False),
        ([("delete", 80 * 24, None)], True),  # 20 days ago: decisions of the retention have met it
    ],
    ids=["not changed", "changed", "over", "not over", "lifted", "revoked", "deleted long ago", "deleted lately"],
)
def test_changes_of_what_is_in_force_or_was_within_the_retention_are_kept(
    tmp_path: Path, later: list[tuple[str, int, Any]], is_kept: bool
) -> None:
    rows.set_to(OLD, key="7", after=PERMANENT)
    for operation, hours, after in later:
        at = OLD + timedelta(hours=hours)
        rows.set_to(at, key="7", operation=operation, before=PERMANENT, after=after)
    partitions.create_ahead()

    said = retain(tmp_path)

    assert (f"Kept {OF_SETTINGS}" in said) is is_kept
    assert (old_rows(SettingChange) > 0) is is_kept


def test_changes_between_the_first_and_the_last_one_keep_no_month(tmp_path: Path) -> None:
    rows.set_to(OLD - timedelta(days=62), key="7", after=PERMANENT)
    rows.set_to(OLD, key="7", operation="update", before=PERMANENT, after=PERMANENT)
    rows.set_to(OLD + timedelta(days=31), key="7", operation="update", before=PERMANENT, after=PERMANENT)
    partitions.create_ahead()

    retain(tmp_path)

    assert old_rows(SettingChange) == 0
    assert SettingChange.objects.filter(table_name=LIMITS).count() == 2, "the first and the last one"


def test_the_issuer_of_a_token_stays_known(tmp_path: Path) -> None:
    with rewritable():
        token = Token.objects.create(name="robot", lookup="robot", digest=b"")
    made: dict[str, Any] = {"name": "robot", "namespaces": [], "revoked_at": None, "expires_at": None}
    rows.set_to(OLD, TOKENS, key=str(token.pk), after=made, actor="user:ana")
    widened = made | {"namespaces": ["erp"]}
    rows.set_to(OLD + timedelta(days=40), TOKENS, key=str(token.pk), operation="update", before=made, after=widened)
    partitions.create_ahead()

    retain(tmp_path)

    action = Action(requested_by="token:robot", created_at=timezone.now())
    assert list(requesters(action)) == [("user:ana", "issued the token robot, which requested it")]


def test_what_is_no_history_is_deleted_without_an_export(tmp_path: Path) -> None:
    user, now = User.objects.create(username="ana"), timezone.now()
    for days in (100, 1):
        entry = LogEntry.objects.create(user=user, action_flag=2, object_repr="x")
        LogEntry.objects.filter(pk=entry.pk).update(action_time=now - timedelta(days=days))
        Session.objects.create(session_key=f"s{days}", session_data="", expire_date=now + timedelta(days=50 - days))

    said = retain(tmp_path)

    assert "1 sessions that have expired" in said
    assert "1 entries of the log of the admin that are older than 40 days" in said
    assert (LogEntry.objects.count(), Session.objects.get().session_key) == (1, "s1")
    assert not [path for path in tmp_path.iterdir() if "session" in path.name or "log" in path.name]


def test_rows_without_history_are_deleted_in_bounded_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expired, "BATCH", 2)
    user, now = User.objects.create(username="ana"), timezone.now()
    for number in range(5):
        Session.objects.create(session_key=str(number), session_data="", expire_date=now - timedelta(days=1))
        LogEntry.objects.create(user=user, action_flag=2, object_repr="x")
    LogEntry.objects.update(action_time=now - timedelta(days=100))

    with CaptureQueriesContext(connection) as captured:
        said = list(expired.delete())

    assert said == [
        "5 sessions that have expired",
        "5 entries of the log of the admin that are older than 40 days",
    ]
    for table in ("smartops_session", "django_admin_log"):
        statements = [one["sql"] for one in captured if f'"{table}"' in one["sql"]]
        assert len(statements) == 3, "two, two and one"
        assert all(one.startswith("DELETE") and "LIMIT 2" in one for one in statements)


def test_a_problem_that_is_no_longer_reported_is_deleted_and_begins_again(tmp_path: Path) -> None:
    post(anomaly("a", firing=False), anomaly("b"))
    Problem.objects.update(healthy_at=timezone.now() - timedelta(days=41))

    assert "Deleted 1 problems that were not reported for 40 days." in retain(tmp_path)
    assert Problem.objects.get().workload == "b", "its signal is open"
    post(anomaly("a"))
    assert Problem.objects.get(workload="a").firing_count == 1


def test_the_documentation_says_of_every_table_how_long_it_keeps_its_rows() -> None:
    table = section(page("docs/production.md"), "### Every table")
    named = re.findall(r"`([a-z]+_[a-z_]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))

    ours = {
        model._meta.db_table for model in apps.get_models() if model._meta.app_label in OURS and not model._meta.proxy
    }
    assert ours <= set(named)
    assert len(named) == len(set(named))
    monthly = {apps.get_model(label)._meta.db_table for label in months.TABLES}
    by_months = "".join(line for line in table.splitlines() if "by months" in line)
    assert {name for name in named if f"`{name}`" in by_months} == monthly
