"""The HTTP server: reads requests, applies faults, streams watches. One event loop in one thread, without locks."""

import asyncio
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import NoReturn

from aiohttp import web

from smartops.dev.sandbox.api import Answer, Api, refusal
from smartops.dev.sandbox.discovery import VERSION
from smartops.dev.sandbox.errors import ApiError
from smartops.dev.sandbox.faults import (
    CompactHistory,
    CutWatch,
    Delay,
    Faults,
    Forbid,
    Hang,
    LoseAnswer,
    MuteWatch,
    Refuse,
    RequestReason,
    Strike,
)
from smartops.dev.sandbox.faults import from_json as fault_from_json
from smartops.dev.sandbox.objects import encode
from smartops.dev.sandbox.registry import Registry
from smartops.dev.sandbox.requests import JSON, Request, Target, parse
from smartops.dev.sandbox.watches import Watch

HEADERS = {"Server": f"smartops-sandbox/{VERSION}"}
MAX_WATCH = 3600.0  # seconds, where the client does not say


@dataclass(slots=True)
class Recorded:
    """A received request; `time` in seconds since the epoch, `status` 0 if there is no response (yet)."""

    time: float
    method: str
    path: str
    content_type: str
    body: bytes
    status: int = 0


class Server:
    """`bookmark_every` in seconds; `recorded` is the maximum number of recorded requests."""

    def __init__(self, registry: Registry, *, bookmark_every: float = 60.0, recorded: int = 10_000) -> None:
        self.store = registry.store
        self.faults = Faults()
        self.api = Api(registry, self.faults.forbids)
        self.requests: deque[Recorded] = deque(maxlen=recorded)
        self._watches: dict[Watch, None] = {}
        self._bookmark_every = bookmark_every

    def application(self) -> web.Application:
        app = web.Application(client_max_size=3 * 1024 * 1024)
        app.on_shutdown.append(self._end_watches)
        app.router.add_get("/sandbox/requests", self._show_requests)
        app.router.add_post("/sandbox/faults", self._add_fault)
        app.router.add_delete("/sandbox/faults", self._clear_faults)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    def add_fault(self, fault: RequestReason) -> None:
        match fault:
            case CompactHistory():
                self.store.compact()
            case Strike() | Forbid():
                self.faults.add(fault)
        if isinstance(fault, CutWatch | MuteWatch):
            for watch in self._watches:
                self._strike(watch)

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        request = Request(
            incoming.method,
            incoming.path,
            dict(incoming.query),
            await incoming.read(),
            incoming.content_type if "Content-Type" in incoming.headers else "",
            incoming.headers.get("Accept", ""),
            incoming.headers.get("User-Agent", ""),
        )
        record = Recorded(time.time(), request.verb, incoming.path_qs, request.content_type, request.body)
        self.requests.append(record)
        target = parse(request.path)
        fault = self.faults.take((Refuse, Delay, Hang, LoseAnswer), request.verb, request.path)
        match fault:
            case Refuse():
                answer = refusal(fault.error())
            case Hang():
                await _forever()
            case Delay():
                answer = await self._later(request, fault.seconds)
            case LoseAnswer():
                self.api.answer(request)
                if fault.hang:
                    await _forever()
                return _cut(incoming)
            case _ if request.watches and target is not None:
                return await self._watch(incoming, request, target, record)
            case _:
                answer = self.api.answer(request)
        record.status = answer.status
        return _response(answer)

    async def _later(self, request: Request, seconds: float) -> Answer:
        """The response after a delay. The request is applied even if this coroutine is cancelled."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        def apply() -> None:
            answer = self.api.answer(request)
            if not answered.done():
                answered.set_result(answer)

        loop.call_later(seconds, apply)
        return await answered

    async def _watch(
        self, incoming: web.Request, request: Request, target: Target, record: Recorded
    ) -> web.StreamResponse:
        try:
            self.api.authorize(request, target)
            request.refuse_options()
            watch = Watch(self.store, request, target)
            seconds = request.number("timeoutSeconds") or MAX_WATCH
        except ApiError as error:
            record.status = error.code
            return _response(refusal(error))
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": JSON})
        response.enable_chunked_encoding()
        self._watches[watch] = None
        try:
            self._strike(watch)
            record.status = 200
            await response.prepare(incoming)
            await self._stream(watch, response, seconds)
        finally:
            watch.close()
            del self._watches[watch]
        return _cut(incoming) if watch.cut else response

    async def _stream(self, watch: Watch, response: web.StreamResponse, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not watch.cut:
            if watch.muted:
                await _forever()
            if lines := watch.take():
                await response.write(lines)
            left = end - loop.time()
            if watch.ended or left <= 0:
                return
            try:
                async with asyncio.timeout(min(left, self._bookmark_every)):
                    await watch.changed.wait()
            except TimeoutError:
                watch.bookmark()

    def _strike(self, watch: Watch) -> None:
        struck = watch.cut or watch.muted
        if not struck and (fault := self.faults.take((CutWatch, MuteWatch), "WATCH", watch.path)):
            watch.strike(cut=isinstance(fault, CutWatch))

    async def _end_watches(self, _: web.Application) -> None:
        for watch in self._watches:
            watch.strike(cut=True)

    async def _show_requests(self, _: web.Request) -> web.Response:
        rows = [asdict(record) | {"body": record.body.decode(errors="replace")} for record in self.requests]
        return _response(Answer(200, encode(rows)))

    async def _add_fault(self, incoming: web.Request) -> web.Response:
        try:
            self.add_fault(fault_from_json(Request("POST", incoming.path, body=await incoming.read()).document()))
        except ApiError as error:
            return _response(refusal(error))
        return web.Response(status=204, headers=HEADERS)

    async def _clear_faults(self, _: web.Request) -> web.Response:
        self.faults.clear()
        return web.Response(status=204, headers=HEADERS)


async def _forever() -> NoReturn:
    """Wait until the client disconnects, which cancels the handler."""
    while True:
        await asyncio.Event().wait()


def _response(answer: Answer) -> web.Response:
    headers = {**HEADERS, "Content-Type": answer.content_type, **answer.headers}
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _cut(incoming: web.Request) -> web.Response:
    """Close the connection without a response. The returned response is never sent."""
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response()
