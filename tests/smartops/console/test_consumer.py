import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from guardrails.models import Freeze
from orchestrator.models import Action, Heartbeat, Workload
from signals import actors
from signals.types import ActionType, Origin, Proposal, Target
from smartops.console import consumers, feed
from smartops.console.access import user_of_session
from smartops.console.consumers import Close
from smartops.people.roles import Place, Role
from smartops.people.sessions import Session
from smartops.web import notifications
from smartops.web.backlog import EXTENSION
from tests.kit.patience import PATIENCE
from tests.kit.people import grant, lose_roles, person
from tests.kit.verbs import propose
from tests.kit.web import notify
from tests.smartops.console.scene import reconciled
from tests.smartops.web.test_notifications import cut_listeners

pytestmark = pytest.mark.django_db(transaction=True)
OURS = "http://testserver"


def socket(client: Client, page: str = "/console/", origin: str | None = OURS) -> WebsocketCommunicator:
    from smartops.asgi import application  # it sets the middleware up, by the settings of these tests

    cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
    headers = [(b"host", b"testserver"), (b"cookie", cookies.encode())] + (
        [(b"origin", origin.encode())] if origin else []
    )
    return WebsocketCommunicator(application, f"/console/changes?{urlencode({'page': page})}", headers=headers)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    @async_to_sync
    async def within() -> None:
        await asyncio.wait_for(scenario, PATIENCE)

    within()


async def accepted(communicator: WebsocketCommunicator) -> bool:
    connected, _ = await communicator.connect(timeout=PATIENCE)
    return connected


async def message(communicator: WebsocketCommunicator, about: str = "refresh") -> Any:
    """The next one with that field."""
    while True:
        found = await communicator.receive_json_from(timeout=PATIENCE)
        if about in found:
            return found


async def settled(communicator: WebsocketCommunicator) -> None:
    """Listening has begun, and there is nothing to be sent any more: an age comes after all changes until then."""
    assert await message(communicator)
    assert await message(communicator, "age")


async def aged(communicator: WebsocketCommunicator) -> None:
    """The next three messages are ages of the page: the feed has sent nothing else."""
    for _ in range(3):
        assert "age" in await communicator.receive_json_from(timeout=PATIENCE)


async def emptied(communicator: WebsocketCommunicator) -> None:
    """What was sent before is received."""
    while not communicator.output_queue.empty():
        await communicator.receive_output()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "TICK", 0.1)


def test_the_websocket_refuses_an_anonymous_user(client: Client) -> None:
    async def scenario() -> None:
        assert not await accepted(socket(client))

    run(scenario())


@pytest.mark.parametrize("origin", ["https://evil.example", "http://testserver.evil.example", "null", None])
def test_the_websocket_refuses_another_origin(reading: Client, origin: str | None) -> None:
    async def scenario() -> None:
        assert not await accepted(socket(reading, origin=origin))

    run(scenario())


def direct(name: str = "shop", namespace: str = "smartops-dev") -> Action:
    """A pending action on a workload of its own."""
    target = Target("default", namespace, name)
    workload, _ = Workload.objects.get_or_create(
        cluster=target.cluster, namespace=namespace, kind=target.kind, name=name
    )
    proposal = Proposal(ActionType.RESTART, target, Origin.DIRECT, {}, "try it")
    return propose(proposal, workload, actors.token("cli"))


def test_a_page_that_connects_fetches_itself(reading: Client) -> None:
    async def scenario() -> None:
        communicator = socket(reading)
        assert await accepted(communicator)
        assert await message(communicator) == {"rows": [], "refresh": 0}
        await communicator.disconnect()

    run(scenario())


def test_the_page_of_an_action_fetches_itself_after_changes_of_that_action_alone(reading: Client) -> None:
    own, other = direct("own"), direct("other")

    async def scenario() -> None:
        communicator = socket(reading, f"/console/actions/{own.pk}/")
        assert await accepted(communicator)
        await settled(communicator)
        await sync_to_async(notify)("action", str(other.pk))
        await aged(communicator)  # in a burst of its own
        await sync_to_async(notify)("action", str(own.pk))
        assert await message(communicator) == {"rows": [f"action-{own.pk}"], "refresh": 0}
        await communicator.disconnect()

    run(scenario())


def test_a_list_gets_changed_rows_and_whether_they_pass_its_filter(reading: Client) -> None:
    action = direct()
    row = f"action-{action.pk}"

    async def scenario() -> None:
        pages = [socket(reading, f"/console/actions/{query}") for query in ("", "?state=pending", "?state=failed")]
        for page in pages:
            assert await accepted(page)
        for page in pages:
            await settled(page)
        await sync_to_async(notify)("action", str(action.pk))
        for page, rows in zip(pages, ([row], [row], []), strict=True):
            update = await message(page, "listed")
            assert update["rows"] == rows
            assert f'<hx-partial hx-target="#{row}" hx-swap="outerMorph">' in update["content"]
            assert "shop: Restart all pods" in update["content"]
            await page.disconnect()

    run(scenario())


@pytest.mark.parametrize("page", ["/console/", "/console/actions/"])
def test_a_page_gets_nothing_of_what_its_person_may_not_see(page: str) -> None:
    client = Client()
    client.force_login(person("vera", Role.VIEWER, Place(namespace="shop")))
    hidden, shown = direct(namespace="bank"), direct(namespace="shop")

    async def scenario() -> None:
        communicator = socket(client, page)
        assert await accepted(communicator)
        await settled(communicator)
        await sync_to_async(notify)("action", str(hidden.pk))
        await aged(communicator)  # in a burst of its own
        await sync_to_async(notify)("action", str(shown.pk))
        assert (await message(communicator, "rows"))["rows"] == [f"action-{shown.pk}"]
        await communicator.disconnect()

    run(scenario())


def test_other_roles_apply_to_an_open_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers, "RECHECK", 0.2)
    client, vera = Client(), person("vera", Role.VIEWER, Place(namespace="shop"))
    client.force_login(vera)
    action = direct(namespace="bank")

    async def scenario() -> None:
        communicator = socket(client, "/console/actions/")
        assert await accepted(communicator)
        await settled(communicator)
        await sync_to_async(grant)(vera, Role.VIEWER, Place(namespace="bank"))
        assert await message(communicator) == {"rows": [], "refresh": 0}
        await sync_to_async(notify)("action", str(action.pk))
        assert (await message(communicator, "listed"))["rows"] == [f"action-{action.pk}"]
        await communicator.disconnect()

    run(scenario())


def test_a_large_burst_and_a_lost_connection_make_each_page_fetch_itself(reading: Client) -> None:
    async def scenario() -> None:
        communicator = socket(reading, "/console/actions/")
        assert await accepted(communicator)
        await settled(communicator)
        await sync_to_async(notify)("action", ",".join(str(uuid4()) for _ in range(101)))
        assert await message(communicator) == {"rows": [], "refresh": 0}
        await sync_to_async(cut_listeners)()
        assert await message(communicator) == {"rows": [], "refresh": 0}
        await communicator.disconnect()

    run(scenario())


def test_every_page_shows_a_freeze_at_once_and_only_those_that_depend_on_settings_fetch_themselves(
    reading: Client,
) -> None:
    fetches = {"/console/": False, "/console/actions/?state=pending": False, "/console/guardrails/": True}

    async def scenario() -> None:
        pages = {address: socket(reading, address) for address in fetches}
        for page in pages.values():
            assert await accepted(page)
        for page in pages.values():
            await settled(page)
        freeze = await Freeze.objects.acreate(reason="a migration", by="user:ada")
        for address, page in pages.items():
            update = await message(page, "rows")
            assert ("refresh" in update) is fetches[address]
            assert '<hx-partial hx-target="#freezes" hx-swap="outerMorph">' in update["content"]
            assert "a migration" in update["content"]
        await sync_to_async(freeze.lift)("user:ada", "done")
        for page in pages.values():
            update = await message(page, "rows")
            assert 'id="freezes"' in update["content"]
            assert "a migration" not in update["content"]
            await page.disconnect()

    run(scenario())


def test_a_list_is_sent_its_waiting_rows_again_when_something_holds_them_back(reading: Client) -> None:
    reconciled()
    action = direct()

    async def scenario() -> None:
        communicator = socket(reading, "/console/actions/")
        assert await accepted(communicator)
        await settled(communicator)
        freeze = await Freeze.objects.acreate(reason="a migration", by="user:ada")
        update = await message(communicator, "listed")
        assert (update["rows"], "refresh" in update) == ([], False)
        assert f'id="action-{action.pk}"' in update["content"]
        assert "Would be refused by" in update["content"]
        await sync_to_async(freeze.lift)("user:ada", "done")
        assert "Would be refused by" not in (await message(communicator, "listed"))["content"]
        await Heartbeat.objects.all().adelete()
        assert "which has no reconciler" in (await message(communicator, "listed"))["content"]
        await communicator.disconnect()

    run(scenario())


def test_a_freeze_that_ends_with_its_time_leaves_open_pages(reading: Client) -> None:
    async def scenario() -> None:
        communicator = socket(reading, "/console/actions/")
        assert await accepted(communicator)
        await settled(communicator)
        later = timezone.now() + timedelta(days=1)
        await Freeze.objects.acreate(reason="a migration", by="user:ada", until=later)
        assert "a migration" in (await message(communicator, "listed"))["content"]
        for seconds in count(1):  # until the page shows it, and the feed knows its end: the next message is due to that
            await Freeze.objects.aupdate(until=Now() + timedelta(seconds=seconds))
            shown = "a migration" in (await message(communicator, "listed"))["content"]
            for _ in range(2):  # the first may have been read before the update
                await message(communicator, "age")
            if shown and await Freeze.in_force().aexists():
                break
        assert "a migration" not in (await message(communicator, "listed"))["content"]
        await communicator.disconnect()

    run(scenario())


def test_a_page_whose_client_is_slow_is_sent_nothing_and_fetches_itself_later(reading: Client) -> None:
    action = direct()

    async def scenario() -> None:
        slow, other = socket(reading, "/console/actions/"), socket(reading, "/console/actions/")
        behind = False
        extensions: Any = {EXTENSION: lambda: behind}
        slow.scope["extensions"] = extensions
        for page in (slow, other):
            assert await accepted(page)
            await settled(page)
        behind = True
        await emptied(slow)
        await sync_to_async(notify)("action", str(action.pk))
        assert await message(other, "listed")
        await aged(other)
        assert slow.output_queue.empty()
        behind = False
        assert await slow.receive_json_from(PATIENCE) == {"rows": [], "refresh": 0}
        assert "age" in await slow.receive_json_from(PATIENCE)
        for page in (slow, other):
            await page.disconnect()

    run(scenario())


def test_the_age_of_the_page_is_sent_while_the_database_answers_and_notifies(
    reading: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciled()
    ticks: list[object] = []
    read = feed.Feed._now

    async def now(self: feed.Feed) -> feed.Now | None:
        ticks.append(self)
        return await read(self)

    monkeypatch.setattr(feed.Feed, "_now", now)

    async def ticked() -> None:
        until = len(ticks) + 3
        while len(ticks) < until:
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        communicator = socket(reading)
        assert await accepted(communicator)
        assert 'data-reconcilers="running"' in (await message(communicator, "age"))["content"]
        await sync_to_async(reconciled)(ago=timedelta(seconds=13))
        while "Reconciler stopped" not in (await message(communicator, "age"))["content"]:
            pass
        notifications.listening().connected = False
        await ticked()
        await emptied(communicator)
        await ticked()
        assert communicator.output_queue.empty()
        await communicator.disconnect()

    run(scenario())


@pytest.mark.parametrize("page", ["", "/", "/admin/", "/console/nothing/", "https://evil.example/console/"])
def test_the_websocket_refuses_what_is_no_page_of_the_console(reading: Client, page: str) -> None:
    async def scenario() -> None:
        assert not await accepted(socket(reading, page))

    run(scenario())


def test_the_websocket_ignores_messages_of_the_client(reading: Client) -> None:
    async def scenario() -> None:
        communicator = socket(reading)
        assert await accepted(communicator)
        await settled(communicator)
        await communicator.send_to(text_data='{"refresh": 0}')
        await aged(communicator)
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
    checks: list[object] = []

    async def check(key: Any) -> Any:
        checks.append(key)
        return await user_of_session(key)

    monkeypatch.setattr(consumers, "user_of_session", check)

    async def scenario() -> None:
        communicator = socket(reading)
        assert await accepted(communicator)
        await settled(communicator)
        while len(checks) < 2:  # the first has found nothing
            await aged(communicator)
        await sync_to_async(end)(reading)
        closed = await communicator.receive_output(timeout=PATIENCE)
        while closed["type"] == "websocket.send":  # the age, or the change of the account
            closed = await communicator.receive_output(timeout=PATIENCE)
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
