"""One log record per transition, written after its commit: ids, states and reasons, but no data of agents."""

import logging
from functools import partial

from django.db import transaction

log = logging.getLogger(__name__)


def log_transition(kind: str, pk: object, old: str, new: str, **fields: object) -> None:
    """`kind` is "signal" or "action"; `old` is "" for a new row. Empty `fields` are left out of the record."""
    if log.isEnabledFor(logging.INFO):
        given = {kind: pk, "from": old, "to": new} | fields
        extra = {name: str(value) for name, value in given.items() if value}
        transaction.on_commit(partial(log.info, "%s %s → %s", kind, old or "new", new, extra=extra))
