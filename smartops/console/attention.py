"""What waits for a person. Each condition is the one of the list that the overview links to."""

from datetime import datetime, timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q

from orchestrator.models import Action, ActionState
from signals.lib.partitions import first_id
from signals.models import SignalState
from smartops.models import SeenFailure

FAILED = (ActionState.FAILED, ActionState.TIMED_OUT)
ASKED_FOR = timedelta(days=7)  # an older failure is not asked for any more
FORGOTTEN = 100  # rows that one page deletes at most
TOO_LONG = timedelta(minutes=5)  # of a signal without a decision that ends it


def unseen(now: datetime) -> Q:
    """Actions of the last seven days that have failed, and whose page nobody has opened who may act on the workload."""
    return failed_lately(now) & ~Q(Exists(SeenFailure.objects.filter(pk=OuterRef("pk"))))


def failed_lately(now: datetime) -> Q:
    return Q(state__in=FAILED, pk__gte=first_id(now - ASKED_FOR))


def waits_too_long(now: datetime) -> Q:
    """Signals that were neither admitted nor refused within five minutes."""
    return Q(state=SignalState.PENDING, pk__lt=first_id(now - TOO_LONG))


def see(action: Action, by: str, now: datetime) -> None:
    """Records it once, and deletes what is not asked for any more."""
    SeenFailure.objects.bulk_create([SeenFailure(pk=action.pk, by=by)], ignore_conflicts=True)
    old = SeenFailure.objects.filter(pk__lt=first_id(now - ASKED_FOR)).order_by("pk")
    SeenFailure.objects.filter(pk__in=old.values("pk")[:FORGOTTEN]).delete()


def is_unseen(action: Any, now: datetime) -> bool:
    return bool(
        action.state in FAILED
        and action.pk >= first_id(now - ASKED_FOR)
        and not SeenFailure.objects.filter(pk=action.pk).exists()
    )
