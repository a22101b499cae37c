"""Signals whose target is not known by the name that they have."""

import json
from collections import Counter
from collections.abc import Collection, Sequence

from django.db import connection
from django.db.models import Count, Q

from signals import queries
from signals.identity import Identified, dump_naming
from signals.lib.partitions import generic_plan
from signals.models import Signal, SignalState
from signals.reasons import Reason
from signals.types import Naming

Found = tuple[Signal, Naming, Identified | None]

UNIDENTIFIED = Q(state=SignalState.PENDING, reason=Reason.TARGET_UNIDENTIFIED)


def store(found: Sequence[Found]) -> None:
    """Stores the targets of signals that are identified, and the nearest names of the others. The caller holds their
    rows."""
    rows = [_row(*one) for one in found]
    if rows:
        first = min(signal.pk for signal, _, _ in found)
        with generic_plan(), connection.cursor() as cursor:
            cursor.execute(queries.IDENTIFY, {"rows": json.dumps(rows), "first": first})


def _row(signal: Signal, naming: Naming, identification: Identified | None) -> dict[str, object]:
    target = signal.target if identification is None else identification.target
    return {
        "id": str(signal.pk),
        "kind": target.kind,
        "namespace": target.namespace,
        "workload": target.name,
        "naming": None if identification is None else dump_naming(naming),
        "nearest": list(naming.facts.nearest) if identification is None else [],
    }


def waiting(tokens: Collection[str]) -> Counter[str]:
    """How many unidentified signals of each of the tokens wait."""
    rows = Signal.pending().filter(UNIDENTIFIED, posted_by__in=tokens)
    return Counter(dict(rows.values_list("posted_by").annotate(count=Count("pk")))) if tokens else Counter()
