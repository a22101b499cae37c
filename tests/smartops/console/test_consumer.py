import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django.fixtures import Settings

from smartops.console import consumers
from smartops.console.consumers import Close
from smartops.people.roles import Role
from tests.kit.people import lose_roles, person
from tests.kit.web import notify

pytestmark = pytest.mark.django_db(transaction=True)
OURS = "http://testserver"


def socket(client: Client, path: str = "/console/changes", origin: str | None = OURS) -> WebsocketCommunicator:
    from smartops.asgi import application  # it sets the middleware up, by the settings of these tests

    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    headers = [(b"host", b"testserver"), (b"cookie", cookies.encode())] + (
        [(b"origin", origin.encode())] if origin else []
    )
    return WebsocketCommunicator(application, path, headers=headers)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    @async_to_sync
    async def within() -> None:
        await asyncio.wait_for(scenario, 15)

    within()


async def accepted(communicator: WebsocketCommunicator) -> bool:
    connected, _ = await communicator.connect(timeout=10)
    return connected


async def changed(communicator: WebsocketCommunicator) -> Any:
    return (await communicator.receive_json_from(timeout=10))["changed"]


def test_the_websocket_refuses_an_anonymous_user(client: Client) -> None:
    async def scenario() -> None:
        assert not await accepted(socket(client))

    run(scenario())


@pytest.mark.parametrize("origin", ["https://evil.example", "http://testserver.evil.example", "null", None])
def test_the_websocket_refuses_another_origin(reading: Client, origin: str | None) -> None:
    async def scenario() -> None:
        assert not await accepted(socket(reading, origin=origin))

    run(scenario())


def test_the_websocket_sends_what_changed(reading: Client) -> None:
    async def scenario() -> None:
        communicator = socket(reading)
        assert await accepted(communicator)
        assert await changed(communicator) == []  # listening has begun: look again
        await sync_to_async(notify)("signal", "7")
        assert await changed(communicator) == [["signal", "7"]]
        await communicator.disconnect()

    run(scenario())


def test_the_websocket_of_one_action_sends_only_its_changes(reading: Client) -> None:
    async def scenario() -> None:
        communicator = socket(reading, "/console/changes?action=7")
        assert await accepted(communicator)
        assert await changed(communicator) == []
        await sync_to_async(notify)("action", "8")
        await asyncio.sleep(0.3)  # in a burst of its own, or it could hide in the next
        await sync_to_async(notify)("signal", "7")
        await asyncio.sleep(0.3)
        await sync_to_async(notify)("action", "7")
        assert await changed(communicator) == [["action", "7"]]
        await sync_to_async(notify)("action")
        assert await changed(communicator) == [["action", ""]]
        await communicator.disconnect()

    run(scenario())


def test_the_websocket_ignores_messages_of_the_client(reading: Client) -> None:
    async def scenario() -> None:
        communicator = socket(reading)
        assert await accepted(communicator)
        await communicator.send_to(text_data='{"type": "changed", "rows": [["action", "1"]]}')
        assert await changed(communicator) == []
        assert await communicator.receive_nothing(0.3)
        await communicator.disconnect()

    run(scenario())


def deactivate(client: Client) -> None:
    User.objects.update(is_active=False)


def demote(client: Client) -> None:
    lose_roles()


@pytest.mark.parametrize("lose", [deactivate, demote], ids=lambda one: one.__name__)
def test_the_websocket_refuses_an_account_without_a_role(reading: Client, lose: Callable[[Client], None]) -> None:
    lose(reading)

    async def scenario() -> None:
        assert not await accepted(socket(reading))

    run(scenario())


def change_password(client: Client) -> None:
    [user] = User.objects.all()
    user.set_password("another")
    user.save()


def delete_session(client: Client) -> None:
    Session.objects.all().delete()


def sign_out(client: Client) -> None:
    client.post("/admin/logout/")


def delete_account(client: Client) -> None:
    User.objects.all().delete()


@pytest.mark.parametrize(
    "end", [deactivate, demote, change_password, delete_session, sign_out, delete_account], ids=lambda one: one.__name__
)
def test_an_open_websocket_is_closed_when_its_user_may_not_read_any_more(
    reading: Client, monkeypatch: pytest.MonkeyPatch, end: Any
) -> None:
    monkeypatch.setattr(consumers, "RECHECK", 0.2)

    async def scenario() -> None:
        communicator = socket(reading)
        assert await accepted(communicator)
        assert await changed(communicator) == []
        assert await communicator.receive_nothing(0.5)  # it was checked, and nothing had changed
        await sync_to_async(end)(reading)
        closed = await communicator.receive_output(timeout=10)
        assert closed["type"] == "websocket.close"
        assert closed["code"] == Close.NOT_ALLOWED
        await communicator.disconnect()

    run(scenario())
    assert not consumers._open


def test_a_websocket_is_checked_again_every_30_seconds() -> None:
    assert consumers.RECHECK == 30


def test_the_websockets_of_one_user_are_bounded(reading: Client, settings: Settings) -> None:
    settings.SMARTOPS_SOCKETS_PER_USER = 2
    other = Client()
    other.force_login(person("olaf", Role.VIEWER))

    async def scenario() -> None:
        first, second, third, others = (socket(one) for one in (reading, reading, reading, other))
        assert await accepted(first)
        assert await accepted(second)
        assert not await accepted(third)
        assert await accepted(others)
        await first.disconnect()
        again = socket(reading)
        assert await accepted(again)
        for one in (second, others, again):
            await one.disconnect()

    run(scenario())
    assert not consumers._open
