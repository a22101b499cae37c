"""One connection of an HTTP client: its time limits, and how it ends. `Connections` bounds their number."""

import asyncio
from collections import Counter
from time import monotonic, thread_time
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from smartops.edge.request import Request

if TYPE_CHECKING:
    from smartops.edge.server import Factory

# Seconds. A proxy keeps idle connections for 60 s: if we closed one first, a request might be under way on it.
HEADER_TIMEOUT, BODY_TIMEOUT, IDLE_TIMEOUT = 15, 30, 75
LINGER, LINGER_PAUSE = 5, 0.05
STALLED = 60  # a client that takes nothing of its response for so long is disconnected
READ_SIZE = 16 * 1024  # bytes of one read
# What is slow to parse, as a body in chunks of one byte, may occupy the event loop for a twentieth of the time for each
# peer. A read of an ordinary request takes less than SLOW (seconds of CPU).
SLOW, SHARE = 0.001, 0.05
REPLACEMENTS = 20  # of the connections of one peer, per second and at once


class Connections:
    """The open connections: at most `limit`, and at most `peer_limit` of one peer. To admit another, the one that has
    waited for its client for the longest time is closed: idle, or in the middle of a header or a body. So clients that
    send slowly, or nothing, keep nobody out. A peer that replaces its connections faster than REPLACEMENTS gets no
    other: to refuse one costs a fraction of what a replacement costs."""

    def __init__(self, limit: int, peer_limit: int) -> None:
        self._limit, self._peer_limit = limit, peer_limit
        self._peers: dict[Connection, str] = {}
        self._counts: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}  # the longest wait first
        self._resume_at: dict[str, float] = {}  # when to read from a peer again, of the monotonic clock
        self._replaced: dict[str, float] = {}  # when the replacements of a peer, at their rate, would have been made

    def open(self, connection: "Connection", peer: str, *, is_proxy: bool) -> bool:
        """False if the connection must be closed at once. All clients of a proxy are one peer."""
        if not is_proxy and self._counts[peer] >= self._peer_limit and not self._replace_one_of(peer):
            return False
        if len(self._peers) >= self._limit and not self._close_one_of(None):
            return False
        self._peers[connection] = peer
        self._counts[peer] += 1
        self._waiting[connection] = None
        return True

    def closed(self, connection: "Connection") -> None:
        self._waiting.pop(connection, None)
        if (peer := self._peers.pop(connection, None)) is not None:
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]
                self._replaced.pop(peer, None)
                if not self._pause(peer):
                    self._resume_at.pop(peer, None)

    def waits(self, connection: "Connection") -> None:
        """For its client."""
        if connection in self._peers:
            self._waiting[connection] = None

    def works(self, connection: "Connection") -> None:
        self._waiting.pop(connection, None)

    def pause(self, connection: "Connection", spent: float = 0.0) -> float:
        """Seconds for which nothing must be read from this peer, after `spent` seconds of CPU for what it sent."""
        peer = self._peers.get(connection)
        if peer is None:
            return 0.0
        if spent:
            self._resume_at[peer] = monotonic() + self._pause(peer) + spent / SHARE
        return self._pause(peer)

    def _pause(self, peer: str) -> float:
        return max(0.0, self._resume_at.get(peer, 0.0) - monotonic())

    def _replace_one_of(self, peer: str) -> bool:
        now = monotonic()
        replaced = max(self._replaced.get(peer, 0.0), now - 1) + 1 / REPLACEMENTS
        if replaced > now or not self._close_one_of(peer):
            return False
        self._replaced[peer] = replaced
        return True

    def _close_one_of(self, peer: str | None) -> bool:
        longest = next((one for one in self._waiting if peer in (None, self._peers[one])), None)
        if longest is None:
            return False
        longest.transport.abortConnection()
        self.closed(longest)
        return True


class Connection(HTTPChannel):
    """Twisted's channel restarts its only timeout with each byte. Here, a header and a body have a time each."""

    factory: "Factory"
    transport: Any
    requests: list[Request]
    requestFactory: Any = Request
    maxHeaders = 100
    _path: Any

    def __init__(self) -> None:
        super().__init__()
        self._is_idle, self._is_lingering = True, False
        self._holds: set[str] = set()
        self._pause: Any = None
        self._drained = asyncio.Event()
        self._drained.set()

    # The client

    def connectionMade(self) -> None:
        self.transport.bufferSize, self.timeOut = READ_SIZE, HEADER_TIMEOUT
        super().connectionMade()
        self._pause_for(self.factory.connections.pause(self))

    def dataReceived(self, data: bytes) -> None:
        if self._is_lingering:
            self._pause_for(LINGER_PAUSE)
            return
        if self._is_idle:
            self._is_idle = False
            self.setTimeout(HEADER_TIMEOUT)
        began = thread_time()
        LineReceiver.dataReceived(self, data)
        if (spent := thread_time() - began) > SLOW:
            self._pause_for(self.factory.connections.pause(self, spent))

    def lineReceived(self, line: bytes) -> None:
        if self._is_lingering:
            return
        if self._receivedHeaderSize + len(line) > self.totalHeadersSize:
            self._refuse(b"431 Request Header Fields Too Large")
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: ARG002
        self._refuse(b"431 Request Header Fields Too Large" if self.requests else b"414 URI Too Long")

    def rawDataReceived(self, data: bytes) -> None:
        if not self._is_lingering:
            super().rawDataReceived(data)

    def setRawMode(self) -> None:
        """What follows is a body: of a request that begins, or of one that is complete."""
        super().setRawMode()
        if not self._handlingRequest:
            self.setTimeout(BODY_TIMEOUT)
            self.requests[-1].begin(self._command, self._path, self._version)

    def allContentReceived(self) -> None:
        self.factory.connections.works(self)
        super().allContentReceived()

    def timeoutConnection(self) -> None:
        if self._is_lingering:
            self.transport.abortConnection()
        elif self._is_idle or any(request.startedWriting for request in self.requests):
            super().timeoutConnection()
        else:
            self._refuse(b"408 Request Timeout")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.connections.closed(self)
        self._drained.set()
        if self._pause is not None:
            self._pause.cancel()
        super().connectionLost(reason)

    # The response

    def requestDone(self, request: Request) -> None:
        if not request.received:
            del self.requests[0]
            self._linger()
            return
        self._is_idle, self._savedTimeOut = True, IDLE_TIMEOUT
        self.factory.connections.waits(self)
        super().requestDone(request)

    def became(self, websocket: Any) -> None:
        """Another protocol has taken over the transport, and calls `connectionLost` of this one."""
        websocket.connection = self

    def _send100Continue(self) -> None:
        """The request does so, when the application reads the body."""

    def _respondToBadRequestAndDisconnect(self) -> None:
        self._refuse(b"400 Bad Request")

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        for request in self.requests:
            request.abandon()
        self._linger()

    def _linger(self) -> None:
        """End the response, and discard what the client still sends, slowly and for a short time. A connection that is
        closed with unread bytes is reset, and the client may lose the response."""
        self._is_lingering = True
        self.factory.connections.waits(self)
        self.setTimeout(LINGER)
        self._networkProducer.unregisterProducer()
        self.release("unread")
        self.transport.loseWriteConnection()

    # Backpressure

    def pauseProducing(self) -> None:
        """The client takes less than is written: what is written now stays in memory."""
        self._drained.clear()
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._drained.set()
        super().resumeProducing()

    @property
    def is_drained(self) -> bool:
        return self._drained.is_set()

    async def drained(self) -> None:
        """Wait until the client has taken what was written, or is gone."""
        if self._drained.is_set():
            return
        try:
            async with asyncio.timeout(STALLED):
                await self._drained.wait()
        except TimeoutError:
            self.transport.abortConnection()

    def hold(self, why: str) -> None:
        """Read nothing from the client until `release` was called for each `why`."""
        self._holds.add(why)
        self.transport.pauseProducing()

    def release(self, why: str) -> None:
        if why in self._holds:
            self._holds.remove(why)
            if not self._holds:
                self.transport.resumeProducing()

    def _pause_for(self, seconds: float) -> None:
        if seconds and self._pause is None:
            self.hold("pause")
            self._pause = self.callLater(seconds, self._end_pause)

    def _end_pause(self) -> None:
        self._pause = None
        self.release("pause")
