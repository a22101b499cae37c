"""One line of the log for each transition, after its commit: ids, states and reasons, nothing that was sent to us."""

import logging
from functools import partial

from django.db import transaction

log = logging.getLogger(__name__)


def log_transition(what: str, pk: object, here: str, there: str, **about: object) -> None:
    """`what` is "signal" or "action"; `here` is "" for a new one."""
    if log.isEnabledFor(logging.INFO):
        told = {what: pk, "from": here, "to": there} | about
        extra = {name: str(value) for name, value in told.items() if value}
        transaction.on_commit(partial(log.info, "%s %s → %s", what, here or "new", there, extra=extra))
