"""Rows that no decision and no page needs any more, and that are no history: they are deleted, and not exported."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from orchestrator.models import Action, IdempotencyKey
from signals.lib import batches
from signals.models import Problem, Signal, Window
from smartops.models import Session
from smartops.retention.drop import oldest
from smartops.retention.months import midnight

BATCH = 20_000  # rows


def delete() -> Iterator[str]:
    """What was deleted, in words. After the months were dropped: problems are known for as long as their signals."""
    now = timezone.now()
    if count := Window.forget():
        yield f"{count} windows that recognize no repeat any more"
    if count := batches.delete(Session.objects.filter(expire_date__lt=now).order_by("expire_date"), BATCH):
        yield f"{count} sessions that have expired"
    days = settings.SMARTOPS_RETAIN_AUDIT_DAYS  # the history of settings has the same changes, with their values
    entries = LogEntry.objects.filter(action_time__lt=now - timedelta(days=days)).order_by("pk")
    if count := batches.delete(entries, BATCH):
        yield f"{count} entries of the log of the admin that are older than {days} days"
    days = settings.SMARTOPS_RETAIN_SIGNALS_DAYS
    since = now - timedelta(days=days)
    if month := oldest(Signal):  # signals are listed by the places of their problems; a day, as clocks differ
        since = min(since, midnight(month.month) - timedelta(days=1))
    if count := Problem.forget(since):
        yield f"{count} problems that were not reported for {days} days"
    month = oldest(Action)
    if month and (count := IdempotencyKey.forget_actions(UUID(int=0), month.first)):  # an interrupted run has left them
        yield f"{count} idempotency keys of actions that were dropped"
