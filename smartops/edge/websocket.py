"""One websocket. Clients have nothing to say on it: their messages are ignored, and small."""

from typing import TYPE_CHECKING, Any

from daphne.ws_protocol import WebSocketProtocol

if TYPE_CHECKING:
    from smartops.edge.connection import Connection

MAX_MESSAGE = 4096  # bytes


class Websocket(WebSocketProtocol):  # type: ignore[misc]
    connection: "Connection | None" = None
    request: Any = None

    def dataReceived(self, data: bytes) -> None:
        """Until the application accepts, autobahn takes what arrives for another handshake."""
        if self.request is None or self.state != self.STATE_CONNECTING:
            super().dataReceived(data)
            return
        self.data += data
        if len(self.data) > MAX_MESSAGE:
            self.transport.abortConnection()

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        if self.connection is not None:
            self.connection.factory.connections.closed(self.connection)
