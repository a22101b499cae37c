"""One websocket. Clients have nothing to say on it: their messages are ignored, and small."""

from typing import TYPE_CHECKING, Any

from daphne.ws_protocol import WebSocketProtocol

if TYPE_CHECKING:
    from smartops.edge.connection import Connection

MAX_MESSAGE = 4096  # bytes that a client may send


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

    def sendMessage(self, *args: Any, **options: Any) -> None:
        """autobahn applies the limit of received messages to ours too: the changes of a page are larger. A websocket
        that is being closed takes none."""
        if self.state != self.STATE_OPEN:
            return
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(*args, **options)
        finally:
            self.maxMessagePayloadSize = limit

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        if self.connection is not None:
            self.connection.factory.connections.closed(self.connection)
