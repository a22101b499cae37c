"""The ASGI handler that daphne calls, without daphne."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.http import HttpRequest, HttpResponse
from django.urls import path
from pytest_django.fixtures import Settings

from smartops.web.handler import Handler
from tests.kit.patience import PATIENCE

seen: list[Any] = []
go_on = threading.Event()


def name_the_thread(request: HttpRequest) -> HttpResponse:
    return HttpResponse(threading.current_thread().name)


async def wait_forever(request: HttpRequest) -> HttpResponse:
    seen.append("began")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise
    raise AssertionError


def block(request: HttpRequest) -> HttpResponse:
    seen.append("began")
    go_on.wait(PATIENCE)
    return HttpResponse()


urlpatterns = [
    path("v1/block", block),
    path("console/block", block),
    path("v1/thread", name_the_thread),
    path("console/thread", name_the_thread),
    path("v1/forever", wait_forever),
]


@pytest.fixture(autouse=True)
def routes(settings: Settings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["smartops.web.fast_path.fast_path"]
    seen.clear()
    go_on.clear()


def request(handler: Handler, path: str) -> Any:
    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    return ApplicationCommunicator(handler, scope)  # type: ignore[no-untyped-call]


async def body(communicator: Any) -> bytes:
    await communicator.send_input({"type": "http.request"})
    start = await communicator.receive_output(PATIENCE)
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    content: bytes = (await communicator.receive_output(PATIENCE))["body"]
    await communicator.wait(PATIENCE)
    return content


@pytest.mark.parametrize("path", ["/v1/thread", "/console/thread"])
def test_the_thread_of_a_finished_request_serves_the_next(path: str) -> None:
    async def names() -> set[bytes]:
        handler = Handler()
        return {await body(request(handler, path)) for _ in range(3)}

    found = asyncio.run(names())
    assert len(found) == 1
    assert found != {threading.current_thread().name.encode()}


def test_requests_at_the_same_time_have_a_thread_each() -> None:
    async def threads() -> list[int]:
        handler, this_thread = Handler(), sync_to_async(threading.get_ident)
        with handler._thread():
            first = await this_thread()
            with handler._thread():
                second = await this_thread()
            return [first, second, await this_thread()]

    first, second, again = asyncio.run(threads())
    assert first == again != second


def test_a_client_that_disconnects_cancels_its_view_and_is_not_answered() -> None:
    async def disconnect() -> bool:
        communicator = request(Handler(), "/v1/forever")
        await communicator.send_input({"type": "http.request"})
        while seen != ["began"]:
            await asyncio.sleep(0.01)
        await communicator.send_input({"type": "http.disconnect"})
        await communicator.wait(PATIENCE)
        return bool(communicator.output_queue.empty())

    assert asyncio.run(disconnect())
    assert seen == ["began", "cancelled"]


@pytest.mark.parametrize("path", ["/v1/block", "/console/block"])
def test_a_thread_that_is_still_busy_serves_no_other_request(path: str) -> None:
    """A synchronous view cannot be cancelled: a request that got its thread would wait for it."""

    async def disconnect_and_go_on() -> int:
        handler = Handler()
        first = request(handler, path)
        await first.send_input({"type": "http.request"})
        while seen != ["began"]:
            await asyncio.sleep(0.01)
        await first.send_input({"type": "http.disconnect"})
        await asyncio.sleep(0.1)
        await asyncio.wait_for(body(request(handler, "/v1/thread")), PATIENCE / 2)
        idle = len(handler._idle)
        go_on.set()
        await first.wait(PATIENCE)
        return idle

    assert asyncio.run(disconnect_and_go_on()) == 1
