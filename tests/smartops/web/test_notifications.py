import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection

from signals.lib.notifications import connect
from smartops.web import notifications
from tests.kit.patience import PATIENCE
from tests.kit.web import notify

T = TypeVar("T")
pytestmark = pytest.mark.django_db(transaction=True)


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, PATIENCE)


async def first_look(event: asyncio.Event) -> None:
    """Past the connect, which counts as a change."""
    await soon(event.wait())
    event.clear()


def test_a_committed_notification_wakes_the_followers_of_the_row() -> None:
    @async_to_sync
    async def scenario() -> None:
        async with notifications.follow("action", "1") as one, notifications.follow("action", "2") as other:
            await first_look(one)
            await first_look(other)
            await sync_to_async(notify)("action", "1")
            await soon(one.wait())
            assert not other.is_set()

    scenario()


def test_a_notification_without_an_id_wakes_all_followers_of_the_model() -> None:
    @async_to_sync
    async def scenario() -> None:
        async with notifications.follow("action", "1") as one, notifications.follow("signal", "1") as signal:
            await first_look(one)
            await first_look(signal)
            await sync_to_async(notify)("action")
            await soon(one.wait())
            assert not signal.is_set()

    scenario()


def test_a_lost_connection_is_reestablished_and_counts_as_a_change() -> None:
    @async_to_sync
    async def scenario() -> None:
        async with notifications.follow("action", "1") as one:
            await first_look(one)
            await sync_to_async(cut_listeners)()
            await first_look(one)
            await sync_to_async(notify)("action", "1")
            await soon(one.wait())

    scenario()


def cut_listeners() -> None:
    with connect() as session:
        cut = session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query = 'LISTEN smartops'"
        ).fetchall()
    assert cut == [(True,)]
    connection.close()


def test_changes_are_taken_in_bursts() -> None:
    @async_to_sync
    async def scenario() -> None:
        with notifications.changes() as changes:
            assert await soon(changes.take()) is None  # listening has begun: every row may have changed
            for number in range(200):
                await sync_to_async(notify)("action", str(number))
            await sync_to_async(notify)("signal", "7,8")
            taken: set[tuple[str, str]] = set()
            while ("signal", "8") not in taken:
                rows = await soon(changes.take())
                assert rows is not None
                taken |= rows
        assert taken == {("action", str(number)) for number in range(200)} | {("signal", "7"), ("signal", "8")}

    scenario()


def test_a_listener_ends_with_its_event_loop() -> None:
    @async_to_sync
    async def scenario() -> None:
        async with notifications.follow("action", "1") as one:
            await first_look(one)

    scenario()
    assert not notifications._listeners
