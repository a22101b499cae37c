"""`manage.py retain`: history is exported, verified and dropped by whole months, and nothing that is needed is."""

import gzip
import json
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestrator.models import Action, AuditEvent, DecisionRecord, IdempotencyKey, Verification
from signals.lib import partitions
from signals.lib.notifications import connect
from smartops import checks
from smartops.models import SignIn
from smartops.retention import drop, export, months
from smartops.retention.months import Partition
from tests.kit.signals import anomaly, post
from tests.orchestrator.test_constraints import an_action

pytestmark = pytest.mark.django_db

OLD = (timezone.now() - timedelta(days=100)).replace(day=10)
MONTH = date(OLD.year, OLD.month, 1)
TABLES = ("orchestrator_action", "orchestrator_auditevent", "orchestrator_decisionrecord", "orchestrator_verification")


@pytest.fixture(autouse=True)
def after_forty_days(settings: Settings) -> None:
    settings.SMARTOPS_RETAIN_ACTIONS_DAYS = settings.SMARTOPS_RETAIN_DECISIONS_DAYS = 40
    settings.SMARTOPS_RETAIN_AUDIT_DAYS = settings.SMARTOPS_RETAIN_SIGNALS_DAYS = 40


def retain(directory: Path, **options: Any) -> str:
    out = StringIO()
    call_command("retain", directory, stdout=out, stderr=out, **options)
    return out.getvalue()


def immediately() -> None:
    """Foreign keys are checked, as at the end of a transaction: before that, a table cannot be dropped."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")


def a_decision(action: Action | None, **columns: Any) -> None:
    inputs = {"n": "ä\\\n"}
    DecisionRecord.objects.create(
        action=action, phase="plan", outcome="allow", inputs=inputs, verdicts=[], requested_by="token:ana", **columns
    )


def of_last_year(state: str = "succeeded", **columns: Any) -> Action:
    """An action with its decision, timeline and verification, each in the partition of its month."""
    action = an_action(state, id=partitions.first_id(OLD), **columns)
    if state == "succeeded":
        Verification.objects.create(action=action, generation=1, baseline={})
    a_decision(action, id=partitions.first_id(OLD))
    immediately()
    partitions.create_ahead()
    return action


def files(directory: Path) -> list[str]:
    """Of the month of the rows. The empty months after it are exported, too."""
    return sorted(path.name for path in directory.glob(f"*{MONTH:_%Y_%m}.*"))


def counts() -> list[int]:
    return [model._default_manager.count() for model in (Action, AuditEvent, DecisionRecord, Verification)]


def test_an_old_month_is_exported_with_its_manifest_and_dropped(tmp_path: Path) -> None:
    action = of_last_year(requested_by="token:ana", idempotency_key="k")

    said = retain(tmp_path)

    assert counts() == [0, 0, 0, 0]
    assert not IdempotencyKey.objects.exists()
    assert said.count("Exported 1 rows of") == 4
    assert files(tmp_path) == sorted(f"{table}{MONTH:_%Y_%m}.json{kind}" for table in TABLES for kind in ("", "l.gz"))
    exported = (tmp_path / f"orchestrator_decisionrecord{MONTH:_%Y_%m}.jsonl.gz").read_bytes()
    [row] = gzip.decompress(exported).decode().splitlines()
    assert json.loads(row) | {"action_id": str(action.pk), "inputs": {"n": "ä\\\n"}} == json.loads(row)
    manifest = json.loads((tmp_path / f"orchestrator_decisionrecord{MONTH:_%Y_%m}.json").read_text())
    assert (manifest["rows"], manifest["month"]) == (1, f"{MONTH:%Y-%m}")
    assert retain(tmp_path) == ""


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    of_last_year()

    assert retain(tmp_path, dry_run=True).count("Would export and drop") >= 1
    assert (counts(), files(tmp_path)) == ([1, 1, 1, 1], [])


@pytest.mark.parametrize("state", ["pending", "applying", "verifying", "needs_review"])
def test_the_month_of_an_active_action_is_kept(tmp_path: Path, state: str) -> None:
    of_last_year(state)

    said = retain(tmp_path)

    assert f"Kept orchestrator_action of {MONTH:%Y-%m}: 1 rows of orchestrator_activeaction refer to it." in said
    assert Action.objects.count() == 1


def test_the_history_of_an_active_action_is_kept(tmp_path: Path) -> None:
    action = of_last_year("needs_review")
    a_decision(action, id=partitions.first_id(OLD + timedelta(seconds=1)))

    said = retain(tmp_path)

    for table in ("orchestrator_auditevent", "orchestrator_decisionrecord"):
        assert f"Kept {table} of {MONTH:%Y-%m}" in said
    assert counts() == [1, 1, 2, 0]


def test_the_decisions_on_an_open_signal_are_kept(tmp_path: Path) -> None:
    [receipt] = post(anomaly("a"))
    a_decision(None, signal_id=receipt.signal_id, id=partitions.first_id(OLD))
    immediately()
    partitions.create_ahead()

    assert "1 rows belong to an active action, or to a signal that is open" in retain(tmp_path)
    assert DecisionRecord.objects.count() == 1


def test_a_month_that_was_dropped_is_not_created_again_because_an_older_one_is_kept(tmp_path: Path) -> None:
    of_last_year("needs_review")
    action = an_action("succeeded", id=partitions.first_id(OLD + timedelta(days=31)))
    immediately()
    retain(tmp_path)
    assert not Action.objects.filter(pk=action.pk).exists()

    assert partitions.create_ahead() == []
    assert "Exported" not in retain(tmp_path)


def test_what_a_later_row_refers_to_is_kept(tmp_path: Path) -> None:
    action = of_last_year()
    a_decision(action)

    assert "1 rows of orchestrator_decisionrecord refer to it" in retain(tmp_path)
    assert counts() == [1, 0, 1, 0]


def test_a_month_that_is_not_old_enough_is_kept(tmp_path: Path, settings: Settings) -> None:
    of_last_year()
    settings.SMARTOPS_RETAIN_ACTIONS_DAYS = settings.SMARTOPS_RETAIN_AUDIT_DAYS = 200

    retain(tmp_path)

    assert counts() == [1, 1, 0, 1]


@pytest.mark.parametrize(
    ("month", "days", "now", "is_due"),
    [
        (date(2025, 1, 1), 30, datetime(2025, 3, 2, 23, 59, tzinfo=UTC), False),
        (date(2025, 1, 1), 30, datetime(2025, 3, 3, tzinfo=UTC), True),
        (date(2025, 12, 1), 1, datetime(2026, 1, 2, tzinfo=UTC), True),
        (date(2025, 12, 1), 1, datetime(2026, 1, 1, 23, tzinfo=UTC), False),
    ],
)
def test_a_month_is_due_when_its_last_row_is(month: date, days: int, now: datetime, is_due: bool) -> None:
    partition = Partition(Action, month)

    assert months.due([partition], days, now) == ([partition] if is_due else [])


class Interrupted(BaseException):
    pass


@pytest.mark.parametrize("place", ["_read", "_write_manifest", "drop"])
def test_an_interrupted_run_is_completed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def interrupt(*_: Any) -> None:
        raise Interrupted

    of_last_year()
    with monkeypatch.context() as patch:
        patch.setattr(drop if place == "drop" else export, place, interrupt)
        with pytest.raises(Interrupted):
            retain(tmp_path)
    assert counts() == [1, 1, 1, 1]

    retain(tmp_path)

    assert counts() == [0, 0, 0, 0]
    assert len(files(tmp_path)) == 8


def test_a_month_that_an_interrupted_run_has_detached_is_attached_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise Interrupted

    of_last_year()
    with monkeypatch.context() as patch:
        patch.setattr(drop, "referred_by", interrupt)
        with pytest.raises(Interrupted):
            retain(tmp_path)
    detached = Partition(Verification, MONTH)
    assert drop.detached(Verification) == [detached]
    assert Verification.objects.count() == 0

    drop.attach(detached)

    assert drop.detached(Verification) == []
    assert Verification.objects.count() == 1
    assert months.stored(Verification)[0] == detached
    retain(tmp_path)
    assert counts() == [0, 0, 0, 0]


def test_a_month_that_a_lock_keeps_from_its_drop_stays_in_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: Any) -> None:
        raise OperationalError("canceling statement due to lock timeout")

    of_last_year()
    with monkeypatch.context() as patch:
        patch.setattr(drop, "referred_by", locked)
        retain(tmp_path)
    assert drop.detached(Verification) == []
    assert Verification.objects.count() == 1
    retain(tmp_path)
    assert counts() == [0, 0, 0, 0]


def test_a_restored_backup_with_other_rows_is_not_dropped(tmp_path: Path) -> None:
    of_last_year()
    retain(tmp_path)
    exported = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    of_last_year(justification="restored, and not the same")
    [later] = [one for one in months.stored(Action) if one.month == months.following(MONTH)]
    (tmp_path / f"{later.name}.json").unlink()

    with pytest.raises(CommandError, match=r"may have been restored from a backup, .* Nothing is dropped\."):
        retain(tmp_path)

    assert Action.objects.count() == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".part"} == exported
    assert later not in months.stored(Action), "one month keeps no other"


def test_what_a_refused_export_has_left_is_removed_by_the_next_run(tmp_path: Path) -> None:
    name = f"{Action._meta.db_table}_2024_11"
    left = [tmp_path / f"{name}.jsonl.part", tmp_path / f"{name}.json.part"]
    kept = [tmp_path / "notes.part", tmp_path / f"{name}.part.txt"]
    for path in (*left, *kept):
        path.touch()

    retain(tmp_path, dry_run=True)
    assert all(path.exists() for path in left)
    retain(tmp_path)

    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in kept), "they are not of an export"


def test_a_file_that_its_manifest_does_not_describe_keeps_the_rows(tmp_path: Path) -> None:
    of_last_year()
    action = Partition(Action, MONTH)
    export.export(action, tmp_path)
    (tmp_path / f"{action.name}.jsonl.gz").write_bytes(b"overwritten")

    with pytest.raises(CommandError, match="does not have the digest of its manifest"):
        retain(tmp_path)

    assert Action.objects.count() == 1


@pytest.mark.parametrize("text", ["", "{}", '{"month": "2024-01"}'])
def test_a_broken_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "orchestrator_action_2024_01.json").write_text(text)

    with pytest.raises(CommandError, match=r"orchestrator_action_2024_01\.json is not a manifest"):
        retain(tmp_path)


def test_a_gap_between_export_and_database_is_named(tmp_path: Path) -> None:
    of_last_year()
    retain(tmp_path)
    [lost, *_] = months.stored(Action)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {lost.name}")

    with pytest.raises(CommandError, match=f"orchestrator_action: the months {lost.month:%Y-%m} are neither"):
        retain(tmp_path)

    retain(tmp_path, allow_gap=True)
    assert retain(tmp_path) == ""


def test_a_row_that_was_written_since_the_export_keeps_its_month(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    action, real = of_last_year(), export.export

    def then_a_row(partition: Partition, directory: Path) -> export.Manifest:
        manifest = real(partition, directory)
        if partition == Partition(AuditEvent, MONTH):
            AuditEvent.objects.create(action=action, to_state="late", epoch=9, actor="a test")
        return manifest

    monkeypatch.setattr(export, "export", then_a_row)
    assert f"Kept orchestrator_auditevent of {MONTH:%Y-%m}" in retain(tmp_path)
    assert AuditEvent.objects.count() == 2
    monkeypatch.undo()

    retain(tmp_path)
    assert AuditEvent.objects.count() == 0


def test_a_gap_between_two_months_of_the_database_is_named_and_closed(tmp_path: Path) -> None:
    """A restored backup may lack a month that nobody has exported."""
    of_last_year("needs_review")
    lost = Partition(AuditEvent, months.following(MONTH))
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {lost.name}")

    with pytest.raises(CommandError, match=f"orchestrator_auditevent: the months {lost.month:%Y-%m} are neither"):
        retain(tmp_path)

    assert f"Created {lost} without rows: it was missing." in retain(tmp_path, allow_gap=True)
    retain(tmp_path)
    assert AuditEvent.objects.count() == 1


def test_months_that_were_dropped_and_are_created_again_do_not_change_their_export(tmp_path: Path) -> None:
    """A process whose clock is months behind makes ids of a month that was dropped."""
    of_last_year()
    retain(tmp_path)
    exported = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    an_action("succeeded", id=partitions.first_id(OLD), justification="by another clock")
    immediately()
    later = Partition(Action, months.following(MONTH))
    assert {later.name, Partition(Action, MONTH).name} <= set(partitions.create_ahead())

    out = StringIO()
    with pytest.raises(CommandError, match=r"or the clock of a process was behind\. Nothing is dropped\."):
        call_command("retain", tmp_path, stdout=out)

    assert f"Dropped {later}: it was exported before, and has no rows now." in out.getvalue()
    assert Action.objects.count() == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".part"} == exported


INSERT = """
    INSERT INTO {} (id, at, event, actor, address, reason, count) VALUES (%s, %s, 'signed_in', 'user:ana', '', '', 1)
"""


def a_table(name: str, *rows: str) -> None:
    """Beside the table of sign-ins, with a row at each of these times."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {name} (LIKE smartops_signin INCLUDING ALL EXCLUDING IDENTITY)")
        for number, at in enumerate(rows):
            cursor.execute(INSERT.format(name), [number, at])


@pytest.mark.parametrize(
    ("name", "bounds", "what"),
    [
        (
            "smartops_signin_2019_01",
            "FROM ('2019-01-01') TO ('2019-03-01')",
            "Its name requires FOR VALUES FROM",
        ),
        ("smartops_signin_old", "FROM ('2019-01-01') TO ('2019-02-01')", "Its name does not end with a month."),
        ("smartops_signin_2019_13", "FROM ('2019-01-01') TO ('2019-02-01')", "Its name does not end with a month."),
    ],
)
def test_a_partition_that_holds_something_else_than_its_month_is_named(
    tmp_path: Path, name: str, bounds: str, what: str
) -> None:
    of_last_year()
    a_table(name, "2019-01-31", *(["2019-02-28"] if "03-01" in bounds else []))
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE smartops_signin ATTACH PARTITION {name} FOR VALUES {bounds}")
        cursor.execute("SELECT count(*) FROM smartops_signin")
        [[count]] = cursor.fetchall()

    with pytest.raises(
        CommandError, match=f"{name}, a partition of smartops_signin, has the bounds FOR VALUES .*{what}"
    ):
        retain(tmp_path)

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM smartops_signin")
        assert cursor.fetchall() == [(count,)]
    assert counts() == [0, 0, 0, 0], "other tables go on"


def test_a_table_with_the_name_of_a_month_and_other_rows_is_named(tmp_path: Path) -> None:
    of_last_year()
    a_table("smartops_signin_2019_01", "2019-01-31", "2019-02-01")

    with pytest.raises(CommandError, match="smartops_signin_2019_01 has the name of a partition, and cannot be one of"):
        retain(tmp_path)

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM smartops_signin_2019_01")
        assert cursor.fetchall() == [(2,)]
    assert counts() == [0, 0, 0, 0], "other tables go on"


@pytest.mark.parametrize("allow_gap", [False, True])
def test_a_missing_month_whose_name_another_table_has_is_named_alone(tmp_path: Path, allow_gap: bool) -> None:
    partitions.create_ahead()
    name = Partition(SignIn, months.following(timezone.now().date().replace(day=1))).name
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {name}; CREATE TABLE {name} (id int)")

    with pytest.raises(CommandError) as error:
        retain(tmp_path, allow_gap=allow_gap)

    assert f"{name} has the name of a partition, and cannot be one of smartops_signin" in str(error.value)
    assert "--allow-gap" not in str(error.value)


def test_the_keys_of_dropped_actions_are_deleted_in_bounded_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.models.keys.BATCH", 2)
    for number in range(5):
        moment = OLD + timedelta(seconds=number)
        an_action("succeeded", id=partitions.first_id(moment), requested_by="token:ana", idempotency_key=str(number))
    an_action("succeeded", requested_by="token:ana", idempotency_key="of now")
    immediately()
    partitions.create_ahead()

    with CaptureQueriesContext(connection) as captured:
        retain(tmp_path)

    assert [one.key for one in IdempotencyKey.objects.all()] == ["of now"]
    statements = [one["sql"] for one in captured if one["sql"].startswith('DELETE FROM "orchestrator_idempotencykey"')]
    of_month = [one for one in statements if f">= '{Partition(Action, MONTH).first.hex}'" in one]
    assert len(of_month) == 3, "two, two and one"
    assert all("LIMIT 2" in one for one in statements)


def test_the_key_of_an_action_that_could_not_be_dropped_stays(tmp_path: Path) -> None:
    of_last_year(requested_by="token:ana", idempotency_key="k")
    with connect() as other, other.transaction():
        other.execute("LOCK TABLE orchestrator_workload IN ROW SHARE MODE")  # as a decision does
        assert "not dropped: canceling statement due to lock timeout" in retain(tmp_path)

    assert (Action.objects.count(), IdempotencyKey.objects.count()) == (1, 1)
    retain(tmp_path)
    assert (Action.objects.count(), IdempotencyKey.objects.count()) == (0, 0)


def test_the_keys_that_an_interrupted_run_has_left_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_last_year(requested_by="token:ana", idempotency_key="k")
    with monkeypatch.context() as patch:
        patch.setattr(IdempotencyKey, "forget_actions", lambda *_: 0)
        retain(tmp_path)
    assert (Action.objects.count(), IdempotencyKey.objects.count()) == (0, 1)

    assert "Deleted 1 idempotency keys of actions that were dropped." in retain(tmp_path)

    assert not IdempotencyKey.objects.exists()


def test_a_month_that_a_lock_keeps_detached_is_an_error_and_attached_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    action, attempts = of_last_year(), []

    def locked(partition: Partition) -> None:
        attempts.append(partition)
        raise OperationalError("canceling statement due to lock timeout")

    monkeypatch.setattr(drop, "ATTEMPTS", 2)
    monkeypatch.setattr(drop, "PAUSE", 0)
    with monkeypatch.context() as patch:
        patch.setattr(drop, "_change", lambda partition, *_: "Needed." if partition.model is Action else "")
        patch.setattr(drop, "attach", locked)
        name = Partition(Action, MONTH).name
        with pytest.raises(CommandError, match=f"{name} is detached from .* Its rows are not visible. Run"):
            retain(tmp_path)
        assert attempts[:2] == [Partition(Action, MONTH)] * 2
        assert not Action.objects.exists()

    monkeypatch.setattr(drop, "_change", lambda *_: "It is needed.")
    retain(tmp_path)
    assert Action.objects.get() == action


def test_sequences_that_are_behind_their_tables_are_advanced(tmp_path: Path) -> None:
    """A copy of the rows alone has not the values of the sequences."""
    of_last_year("needs_review")
    newest = AuditEvent.objects.latest("id").pk
    with connection.cursor() as cursor:
        cursor.execute("SELECT setval(pg_get_serial_sequence('orchestrator_auditevent', 'id'), 1, false)")

    assert f"Advanced the sequence of orchestrator_auditevent.id to {newest}: it was behind its table." in retain(
        tmp_path
    )

    assert "Advanced" not in retain(tmp_path)
    an_action("succeeded")
    assert AuditEvent.objects.latest("id").pk > newest


def test_rows_of_no_month_are_reported(tmp_path: Path) -> None:
    an_action("succeeded", id="f0000000-0000-4000-8000-000000000000")

    assert "1 rows of orchestrator_action have ids of no known month." in retain(tmp_path)


def test_a_second_run_at_the_same_time_is_refused(tmp_path: Path) -> None:
    with connect() as other:
        other.execute("SELECT pg_advisory_lock(hashtext('smartops retain'))")

        with pytest.raises(CommandError, match=r"Another `manage\.py retain` runs"):
            retain(tmp_path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not a directory"):
        retain(tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("SMARTOPS_RETAIN_OBSERVATIONS_DAYS", 0),
        ("SMARTOPS_RETAIN_SIGNALS_DAYS", 0),
        ("SMARTOPS_RETAIN_ACTIONS_DAYS", 0),
        ("SMARTOPS_RETAIN_ACTIONS_DAYS", 34),
        ("SMARTOPS_RETAIN_DECISIONS_DAYS", 0),
        ("SMARTOPS_RETAIN_AUDIT_DAYS", -1),
    ],
)
def test_a_retention_that_is_too_short_is_an_error(settings: Settings, name: str, days: int) -> None:
    setattr(settings, name, days)

    assert [str(one.msg) for one in checks.lower_bounds()] == [
        f"{name}={days} is less than {35 if 'ACT' in name else 1}."
    ]


@pytest.mark.parametrize("name", sorted({*months.TABLES.values()}))
def test_a_retention_that_ends_before_the_year_1_is_an_error(settings: Settings, name: str) -> None:
    setattr(settings, name, 10**9)

    assert [str(one.msg) for one in checks.longest_retention()] == [f"{name}=1000000000 is more than 36500 days."]


def test_the_longest_retention_drops_nothing(tmp_path: Path, settings: Settings) -> None:
    for name in {*months.TABLES.values()}:
        setattr(settings, name, checks.MAX_RETENTION_DAYS)
    of_last_year()

    assert retain(tmp_path) == ""
    assert counts() == [1, 1, 1, 1]
