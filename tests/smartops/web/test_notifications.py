import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.db import connection

from signals.lib.notifications import connect
from smartops.web import notifications
from tests.kit.web import notify

T = TypeVar("T")
pytestmark = pytest.mark.django_db(transaction=True)


async def soon(awaitable: Awaitable[T]) -> T:
    return await asyncio.wait_for(awaitable, 5)


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


def test_the_group_receives_a_burst_in_few_messages() -> None:
    @async_to_sync
    async def scenario() -> None:
        layer = get_channel_layer()
        assert layer is not None
        channel = await layer.new_channel()
        await layer.group_add(notifications.GROUP, channel)
        notifications.listening()
        assert await soon(layer.receive(channel)) == {"type": "changed", "rows": []}
        for number in range(200):
            await sync_to_async(notify)("action", str(number))
        await sync_to_async(notify)("signal", "last")
        heard = [await soon(layer.receive(channel))]
        while ["signal", "last"] not in heard[-1]["rows"] and ["signal", ""] not in heard[-1]["rows"]:
            heard.append(await soon(layer.receive(channel)))
        assert len(heard) < 20

    scenario()


def test_a_listener_ends_with_its_event_loop() -> None:
    @async_to_sync
    async def scenario() -> None:
        async with notifications.follow("action", "1") as one:
            await first_look(one)

    scenario()
    assert not notifications._listeners
