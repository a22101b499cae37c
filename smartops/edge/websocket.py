"""One websocket. Clients have nothing to say on it: their messages are ignored, and small."""

from functools import lru_cache
from socket import SO_SNDBUF, SOL_SOCKET
from typing import TYPE_CHECKING, Any

from daphne.ws_protocol import WebSocketProtocol

if TYPE_CHECKING:
    from smartops.edge.connection import Connection

MAX_MESSAGE = 4096  # bytes that a client may send
# Bytes that the kernel keeps for a client that does not take them; by itself, as many as 4 MiB.
SEND_BUFFER = 256 * 1024


class Websocket(WebSocketProtocol):  # type: ignore[misc]
    connection: "Connection | None" = None
    request: Any = None
    maxMessagePayloadSize: int

    def dataReceived(self, data: bytes) -> None:
        """Until the application accepts, autobahn takes what arrives for another handshake."""
        if self.request is None or self.state != self.STATE_CONNECTING:
            super().dataReceived(data)
            return
        self.data += data
        if len(self.data) > MAX_MESSAGE:
            self.transport.abortConnection()

    def onOpen(self) -> None:
        self.transport.socket.setsockopt(SOL_SOCKET, SO_SNDBUF, SEND_BUFFER)
        super().onOpen()

    def serverSend(self, content: str, binary: bool = False) -> None:  # noqa: ARG002 - daphne's signature
        """The same text is sent on many websockets: its frame is made once, and written at once. autobahn copies it for
        each, applies the limit of received messages to it, and formats a line of its log that nobody reads. A websocket
        that is being closed takes nothing."""
        if self.state == self.STATE_OPEN:
            self._write(_frame(self.factory, content))

    def _write(self, frame: bytes) -> None:
        """At once: the reactor makes two more calls of the kernel for each frame. It writes the rest if the kernel does
        not take all, and what comes while there is a rest. It also finds a lost connection."""
        transport = self.transport
        written = 0 if transport.dataBuffer or transport._tempDataBuffer else transport.writeSomeData(frame)
        if rest := frame[written:] if isinstance(written, int) else frame:
            transport.write(rest)

    def is_behind(self) -> bool:
        """The client takes less than it is sent: what is sent now stays in memory."""
        return self.connection is not None and not self.connection.is_drained

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        if self.connection is not None:
            self.connection.factory.connections.closed(self.connection)


@lru_cache(maxsize=8)
def _frame(factory: Any, text: str) -> bytes:
    frame: bytes = factory.prepareMessage(text.encode()).payloadHybi
    return frame
