"""What keeps a month although it is old enough: what is open or in force, and what refers to its rows."""

from collections.abc import Iterator
from datetime import timedelta

from django.apps import apps
from django.db import connection
from django.db.models import ForeignKey, Q
from django.db.models.functions import Now
from django.utils import timezone

from orchestrator.models import Action, ActiveAction, IdempotencyKey
from signals.models import Problem, SettingChange, Signal
from smartops.retention.months import Partition, retention

MANY = 1000  # more are not counted
# A decision holds for a day at most after it has closed its signal, and a report of that day is known for another day:
# until then, reports are counted on the signal, or refer to it.
REPORTED_FOR = timedelta(days=2)
RELEASED = (IdempotencyKey, Problem)  # what refers to the rows and does not keep them: `drop` ends the references
# The changes of a month that created what was in force at the moment, or changed it last before that. `auth_permission`
# is what migrations define: it grants nothing to anybody.
IN_FORCE = """
    SELECT count(*) FROM (
        SELECT FROM {} made CROSS JOIN LATERAL (
            SELECT id, operation, after FROM signals_settingchange
            WHERE key = made.key AND table_name = made.table_name AND at < %(moment)s ORDER BY id DESC LIMIT 1) newest
        WHERE (made.id = newest.id OR made.operation = 'insert') AND made.table_name <> 'auth_permission'
            AND newest.operation <> 'delete'
            AND coalesce(newest.after ->> 'lifted_at', newest.after ->> 'revoked_at') IS NULL
            AND coalesce(newest.after ->> 'until', newest.after ->> 'expires_at', 'infinity')::timestamptz
                >= %(moment)s
        LIMIT %(many)s) found
"""


def kept_by(partition: Partition) -> str:
    """What is still open in the partition, or in force, or refers to one of its rows; empty if nothing."""
    if count := _open_rows(partition):
        return f"{_number(count)} rows belong to an active action, or to a signal that is open or was closed lately"
    if count := _changes_in_force(partition):
        return f"{_number(count)} rows have made settings that are in force, or were within the retention"
    return referred_by(partition)


def referred_by(partition: Partition) -> str:
    """What refers to one of its rows; empty if nothing."""
    return next(_references(partition), "")


def _references(partition: Partition) -> Iterator[str]:
    for model in apps.get_models():
        for field in model._meta.local_fields:
            refers = isinstance(field, ForeignKey) and field.related_model is partition.model
            if not refers or model in RELEASED:
                continue
            if count := model._default_manager.filter(partition.within(field.attname))[:MANY].count():
                yield f"{_number(count)} rows of {model._meta.db_table} refer to it"


def _open_rows(partition: Partition) -> int:
    """How many rows of the partition belong to what has not ended: the next transition needs them, or adds to them."""
    fields = {field.name for field in partition.model._meta.local_fields}
    active = ActiveAction.objects.values("action")
    # An admitted signal is open while its action is active.
    of_open_signal = Q(signal__in=Signal.pending().values("pk"))
    of_open_signal |= Q(
        signal__in=Action.of_active_months().filter(pk__in=active, signal__isnull=False).values("signal")
    )
    is_open = {
        "action": Q(action__in=active),
        "signal": of_open_signal,
        "closed_at": Q(closed_at=None) | Q(closed_at__gt=Now() - REPORTED_FOR),
    }
    if not (found := [condition for name, condition in is_open.items() if name in fields]):
        return 0
    wanted = Q.create([*found], connector=Q.OR)
    return partition.model._default_manager.filter(wanted, partition.within(partition.key))[:MANY].count()


def _changes_in_force(partition: Partition) -> int:
    """The page of a decision says who set its limits, and the issuer of a token may not approve what it requests: such
    changes stay for as long as what they have made, and for the retention after it."""
    if partition.model is not SettingChange:
        return 0
    moment = timezone.now() - timedelta(days=retention(partition.model._meta.label))
    with connection.cursor() as cursor:
        cursor.execute(IN_FORCE.format(partition.name), {"moment": moment, "many": MANY})
        return int(cursor.fetchone()[0])


def _number(count: int) -> str:
    return str(count) if count < MANY else f"{MANY:,} or more"
