"""Sequences of reports with one window id or several, in any order: which of them open a signal, and which do nothing.

`b` is a beginning, `e` an end; a digit names its window, `+n` lets n seconds pass, `done` ends the action of the open
signal, `ignore` is the reconciler's decision on it.
"""

import pytest
from django.db.models.functions import Now

from signals import transitions
from signals.models import Signal, Window
from tests.kit.signals import anomaly, post, wait

pytestmark = pytest.mark.django_db

MINUTE, DAY = "+61", "+86401"


def outcomes(sequence: str) -> str:
    return " ".join(filter(None, map(_step, sequence.split())))


def _step(step: str) -> str:
    if step[0] == "+":
        wait(float(step))
        return ""
    found = Signal.objects.filter(closed_at=None).first()
    if step in ("done", "ignore"):
        assert found is not None
        if step == "ignore":
            transitions.store([transitions.ignore(found, "NoRule", "")])
        else:
            transitions.store([transitions.admit(found)])
            Signal.objects.filter(pk=found.pk).update(closed_at=Now())
        return ""
    [receipt] = post(anomaly("erp", window_id=step[1:], firing=step[0] == "b"))
    if receipt.duplicate or receipt.late:
        assert Signal.objects.filter(closed_at=None).first() == found, "it has changed something"
        return "repeat" if receipt.duplicate else "late"
    if step[0] == "b":
        return "joins" if found else "opens"
    return "ends" if found else "healthy"


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        # A repeat, while the signal is open and after
        ("b1 b1 b1", "opens repeat repeat"),
        ("b1 b2 b1", "opens joins repeat"),
        (f"b1 {DAY} b1", "opens repeat"),
        ("b1 e1 e1", "opens ends repeat"),
        ("b1 ignore b1", "opens repeat"),
        ("b1 done b1", "opens repeat"),
        ("b1 e2 b1", "opens ends repeat"),
        (f"b1 ignore {MINUTE} b1", "opens repeat"),
        (f"b1 ignore {DAY} b1", "opens opens"),
        (f"b1 done {DAY} b1 b1", "opens opens repeat"),
        # A window id again
        ("b1 e1 b1", "opens ends opens"),
        ("b1 e1 b1 b1 e1 e1", "opens ends opens repeat ends repeat"),
        ("b1 done e1 b1", "opens healthy opens"),
        ("b1 ignore e1 b1 e1", "opens healthy opens ends"),
        (f"b1 e1 {DAY} b1 {DAY} e1", "opens ends opens ends"),
        ("b1 e1 b1 e1 b1 e1", "opens ends opens ends opens ends"),
        ("b1 e1 b2 b1 e1", "opens ends opens joins ends"),
        # An end before its beginning
        ("e1 b1", "healthy late"),
        ("e1 b1 b1 e1", "healthy late repeat repeat"),
        ("b2 e1 b1", "opens ends late"),
        ("b2 e1 b1 b3", "opens ends late opens"),
        ("b2 e1 b3 b1", "opens ends opens late"),
        ("e1 e1 b1", "healthy repeat late"),
        (f"e1 {MINUTE} b1", "healthy opens"),
        (f"e1 b1 {MINUTE} b1 e1 b1", "healthy late opens ends opens"),
        (f"b1 done e1 {DAY} e1 b1", "opens healthy healthy late"),
        # An end again
        ("b1 e1 b2 e1", "opens ends opens repeat"),
        (f"b1 e1 {MINUTE} b2 e1", "opens ends opens ends"),
        (f"b1 e9 {MINUTE} b2 e9 {MINUTE} b3 e9", "opens ends opens ends opens ends"),
        (f"b1 e1 {MINUTE} e1", "opens ends repeat"),
        (f"e1 {DAY} e1", "healthy healthy"),
        # A report that is no longer known
        (f"b1 ignore {DAY} e1 b1", "opens healthy late"),
        (f"b1 e1 {DAY} e1 b1", "opens ends healthy late"),
    ],
)
def test_a_sequence_of_reports_has_these_outcomes(sequence: str, expected: str) -> None:
    assert outcomes(sequence) == expected


@pytest.mark.parametrize(
    ("sequence", "kept"),
    [("b1 b2", 2), (f"b1 {DAY} e2", 1), (f"b1 {DAY} b2", 2), (f"b1 ignore e2 {DAY}", 0), (f"e1 {DAY} e2", 1)],
)
def test_the_retention_deletes_windows_that_recognize_no_repeat(sequence: str, kept: int) -> None:
    outcomes(sequence)

    Window.forget(batch=1)

    assert Window.objects.count() == kept
