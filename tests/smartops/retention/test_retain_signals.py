"""`manage.py retain` ends signals and observations by whole months. No foreign key keeps what rows refer to: triggers
and the retention do, and reports of a problem whose signal is gone are stored as any other."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import Q
from django.utils import timezone
from pytest_django.fixtures import Settings

from orchestrator.models import DecisionRecord
from signals.ingest import Receipt
from signals.lib import partitions
from signals.models import Observation, Problem, Signal, Window
from smartops.queries import places_of_signals
from smartops.retention import drop, export, months
from smartops.retention.months import Partition
from tests.kit.signals import NAMESPACE, anomaly, post, wait
from tests.orchestrator.test_constraints import an_action
from tests.smartops.retention.test_retain import MONTH, OLD, after_forty_days, retain

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures(after_forty_days.__name__)]

DAYS = (timezone.now() - OLD).days


@contextmanager
def ids_of(moment: datetime, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Posts in it get ids of that time."""
    number = partitions.first_id(moment).int

    def one() -> UUID:
        nonlocal number
        number += 1
        return UUID(int=number)

    with monkeypatch.context() as patch:
        patch.setattr("uuid_utils.uuid7", one)
        yield


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> Receipt:
    """A signal with an observation, both of the old month, with its window of that time."""
    with ids_of(OLD, monkeypatch):
        [receipt] = post(anomaly("a", window_id="w"))
    partitions.create_ahead()
    wait(DAYS * 86_400)
    return receipt


def close(state: str = "ignored", **columns: Any) -> None:
    Signal.objects.update(**{"state": state, "closed_at": timezone.now() - timedelta(days=3), **columns})


def of(table: str) -> str:
    return f"{table} of {MONTH:%Y-%m}"


def test_a_closed_signal_and_its_observations_are_exported_and_dropped(tmp_path: Path, old: Receipt) -> None:
    close()
    Problem.objects.update(healthy_at=timezone.now())

    retain(tmp_path)

    assert not Signal.objects.exists()
    assert not Observation.objects.exists()
    for table in ("signals_signal", "signals_observation"):
        manifest = json.loads((tmp_path / f"{table}{MONTH:_%Y_%m}.json").read_text())
        assert (manifest["rows"], manifest["month"]) == (1, f"{MONTH:%Y-%m}")
    assert Problem.objects.get().firing_count == 1, "the problem was reported lately"
    assert Problem.objects.get().signal_id is None


def test_observations_end_before_their_signal(tmp_path: Path, old: Receipt, settings: Settings) -> None:
    close()
    settings.SMARTOPS_RETAIN_SIGNALS_DAYS, settings.SMARTOPS_RETAIN_OBSERVATIONS_DAYS = 400, 30

    retain(tmp_path)

    assert Signal.objects.count() == 1
    assert not Observation.objects.exists()


def test_observations_that_are_kept_longer_keep_their_signal(tmp_path: Path, old: Receipt, settings: Settings) -> None:
    close()
    settings.SMARTOPS_RETAIN_OBSERVATIONS_DAYS = 400

    assert f"Kept {of('signals_signal')}: 1 rows of signals_observation refer to it." in retain(tmp_path)


@pytest.mark.parametrize("state", ["pending", "admitted"])
def test_an_open_signal_keeps_its_month_and_its_observations(tmp_path: Path, old: Receipt, state: str) -> None:
    Signal.objects.update(state=state)
    if state == "admitted":
        an_action(signal=Signal.objects.get())

    said = retain(tmp_path)

    assert f"Kept {of('signals_signal')}: 1 rows belong to" in said
    assert f"Kept {of('signals_observation')}: 1 rows belong to" in said
    assert (Signal.objects.count(), Observation.objects.count()) == (1, 1)


@pytest.mark.parametrize(("days", "kept"), [(1, True), (3, False)])
def test_a_signal_on_which_reports_may_still_be_counted_keeps_its_month(
    tmp_path: Path, old: Receipt, days: int, kept: bool
) -> None:
    close(closed_at=timezone.now() - timedelta(days=days))

    retain(tmp_path)

    assert Signal.objects.exists() is kept


@pytest.mark.parametrize("kind", ["action", "decision"])
def test_what_a_kept_row_refers_to_is_kept(tmp_path: Path, old: Receipt, kind: str) -> None:
    close()
    if kind == "action":
        an_action("succeeded", signal=Signal.objects.get())
    else:
        DecisionRecord.objects.create(
            signal=Signal.objects.get(), phase="admit", outcome="deny", inputs={}, verdicts=[], requested_by="token:ana"
        )

    assert f"Kept {of('signals_signal')}: 1 rows of orchestrator_{kind}" in retain(tmp_path)
    assert Signal.objects.count() == 1


def test_a_report_that_was_counted_since_the_export_keeps_the_month_and_its_link(
    tmp_path: Path, old: Receipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    close()
    real = export.export

    def then_a_report(partition: Partition, directory: Path) -> export.Manifest:
        manifest = real(partition, directory)
        if partition == Partition(Signal, MONTH):
            Signal.objects.update(count=2)
        return manifest

    monkeypatch.setattr(export, "export", then_a_report)

    assert f"Kept {of('signals_signal')}" in retain(tmp_path)
    assert str(Problem.objects.get().signal_id) == old.signal_id
    assert not (tmp_path / f"{Partition(Signal, MONTH).name}.json").exists(), "a manifest says what was dropped"


def dropped(tmp_path: Path) -> None:
    close()
    retain(tmp_path)
    assert not Signal.objects.exists()


def test_the_next_report_of_a_problem_whose_signal_was_dropped_opens_another(tmp_path: Path, old: Receipt) -> None:
    Problem.objects.update(healthy_at=timezone.now())
    dropped(tmp_path)

    [receipt] = post(anomaly("a"))

    assert receipt.signal_id not in ("", old.signal_id)
    assert str(Problem.objects.get().signal_id) == receipt.signal_id
    assert Problem.objects.get().firing_count == 2


@pytest.mark.parametrize(("last", "is_duplicate", "is_late"), [(1, True, False), (4, False, True)])
def test_a_report_of_a_known_window_whose_signal_was_dropped_is_answered(
    tmp_path: Path, old: Receipt, last: int, is_duplicate: bool, is_late: bool
) -> None:
    """A repeat, and a beginning after its end: neither fails, nor refers to what is gone."""
    dropped(tmp_path)
    key = anomaly("a", window_id="w").window_key
    Window.objects.create(key=key, reported_at=timezone.now(), signal_id=old.signal_id, last=last)

    [receipt] = post(anomaly("a", window_id="w"))

    assert receipt == Receipt("", "resolved", duplicate=is_duplicate, late=is_late)
    assert not Observation.objects.exists()


def test_a_hold_of_an_old_month_is_counted_as_any_other(old: Receipt) -> None:
    until = (timezone.now() + timedelta(days=1)).isoformat()
    within = {"score": [None, None], "probability": None, "confidence": None}
    close(holds={"settings": 0, "until": until, "within": within})
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce((SELECT number FROM signals_settingsversion), 0)")
        Signal.objects.update(holds={"settings": cursor.fetchone()[0], "until": until, "within": within})

    [receipt] = post(anomaly("a"))

    assert (receipt.signal_id, Signal.objects.get().count) == (old.signal_id, 2)


def test_a_report_ends_the_link_to_a_signal_that_is_closed_and_holds_for_nothing(old: Receipt) -> None:
    close()

    post(anomaly("a", firing=False))

    assert Problem.objects.get().signal_id is None


def test_a_signal_is_listed_by_its_place_for_as_long_as_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    first = OLD.replace(day=2)
    with ids_of(first, monkeypatch):
        post(anomaly("a"))
        post(anomaly("a", firing=False))
        post(anomaly("a", firing=False))
    partitions.create_ahead()
    days = (timezone.now() - first).days
    wait(days * 86_400)
    visible = Q(namespace=NAMESPACE)
    settings.SMARTOPS_RETAIN_SIGNALS_DAYS = days - 1  # the last day of its month is younger
    assert Problem.objects.get().signal_id is None

    retain(tmp_path)

    assert places_of_signals(visible, {}).values == [("default", NAMESPACE, "a")]  # type: ignore[union-attr]
    assert Signal.objects.filter(visible).exists()
    settings.SMARTOPS_RETAIN_SIGNALS_DAYS = settings.SMARTOPS_RETAIN_OBSERVATIONS_DAYS = 40
    retain(tmp_path)
    assert not Signal.objects.exists()
    assert not Problem.objects.exists()


def test_nothing_is_dropped_that_was_not_exported(tmp_path: Path, old: Receipt) -> None:
    close()
    partition = Partition(Signal, MONTH)
    before = drop.versions(partition)
    manifest = export.export(partition, tmp_path)
    Signal.objects.update(message="another")

    with pytest.raises(drop.Changed):
        drop.drop(partition, manifest, before)

    assert partition in months.stored(Signal)
