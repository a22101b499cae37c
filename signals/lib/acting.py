"""Who changes what people set. The triggers that keep the history of settings (signals/lib/triggers.py, `recorded`)
read it from the transaction: `smartops.actor`, `smartops.address`, `smartops.reason`.

While somebody acts, each statement that writes sets them with `SET LOCAL` first. A statement outside of a transaction
gets one of its own. So they end with the transaction, and never reach the next user of a pooled connection.
(docs/adr/0045-the-history-of-settings.md)
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.dispatch import receiver

SET = "SELECT set_config('smartops.actor', %s, true), set_config('smartops.address', %s, true), \
set_config('smartops.reason', %s, true)"
_WRITES = re.compile(r"\s*(insert|update|delete|merge|with|truncate)\b", re.IGNORECASE)


@dataclass(slots=True)
class Acting:
    """`name`: returns the typed actor, "" if nobody is signed in. It is called at each statement, as a request may sign
    somebody in. `reason`: may be set at any time, and applies to the statements that follow."""

    name: Callable[[], str]
    address: str = ""
    reason: str = ""


current: ContextVar[Acting | None] = ContextVar("acting", default=None)


@contextmanager
def acting(actor: str, address: str = "", reason: str = "") -> Iterator[None]:
    """`actor` makes the changes of this block, and of the rest of a transaction that began before it. Without an
    address, it is that of the block or request around it."""
    around = current.get()
    token = current.set(Acting(lambda: actor, address or (around.address if around else ""), reason))
    try:
        yield
    finally:
        current.reset(token)


def give_reason(reason: str) -> None:
    """For the rest of the request, or of the block of `acting`."""
    if one := current.get():
        one.reason = reason


@receiver(connection_created)
def _watch(connection: BaseDatabaseWrapper, **_: Any) -> None:
    if _set_actor not in connection.execute_wrappers:
        connection.execute_wrappers.append(_set_actor)


def _set_actor(execute: Any, sql: Any, parameters: Any, many: bool, context: dict[str, Any]) -> Any:
    one = current.get()
    if one is None or not (isinstance(sql, str) and _WRITES.match(sql)):
        return execute(sql, parameters, many, context)
    connection = context["connection"]
    with nullcontext() if connection.in_atomic_block else transaction.atomic(using=connection.alias):
        context["cursor"].execute(SET, [one.name(), one.address, one.reason])
        return execute(sql, parameters, many, context)
