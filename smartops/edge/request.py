"""One HTTP request. By itself, Twisted reads a body completely, spools it to disk and parses forms on the event loop,
all before the application begins. Here, the application begins when the header is complete, and receives the body while
it arrives."""

import asyncio
import re
from io import BytesIO
from typing import TYPE_CHECKING, Any

from daphne.http_protocol import WebRequest

if TYPE_CHECKING:
    from smartops.edge.connection import Connection

MAX_UNREAD = 256 * 1024  # bytes of a body that the application has not asked for yet
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)", re.IGNORECASE)


class Inbox(asyncio.Queue[dict[str, Any]]):
    """The messages to the application of a request. The client is read no faster than the application reads."""

    def __init__(self, request: "Request") -> None:
        super().__init__()
        self._request, self._body, self._complete = request, bytearray(), False

    def put_nowait(self, message: dict[str, Any]) -> None:
        """For daphne. It also puts the body that Twisted has read: here, Twisted reads none."""
        if message["type"] != "http.request":
            super().put_nowait(message)

    def feed(self, data: bytes, complete: bool = False) -> None:
        """Bytes of the body, as they arrive. Those that wait are one message, however small the pieces were."""
        if not self._body and not self._complete:
            super().put_nowait({"type": "http.request"})
        self._body += data
        self._complete = complete
        if len(self._body) > MAX_UNREAD:
            self._request.hold()

    async def get(self) -> dict[str, Any]:
        self._request.application_reads()
        message = await super().get()
        if message["type"] == "http.request":
            message |= {"body": bytes(self._body), "more_body": not self._complete}
            self._body.clear()
            self._request.release()
        return message


class Request(WebRequest):  # type: ignore[misc]
    """`channel` is its connection; None once the response is complete or the connection is lost."""

    channel: "Connection | None" = None
    error_template = "<h1>%(title)s</h1><p>%(body)s</p>"

    def __init__(self, channel: "Connection", queued: Any = False) -> None:
        super().__init__(channel, queued, parsePOSTFormSubmission=False)
        self.received = False  # the request is complete
        self.inbox = Inbox(self)
        self._begun = self._is_continued = False

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002
        self.content = BytesIO()  # stays empty: daphne reads it

    def handleContentChunk(self, data: bytes) -> None:
        self.inbox.feed(data)

    def requestReceived(self, command: bytes, target: bytes, version: bytes) -> None:
        self.received = True
        self.inbox.feed(b"", complete=True)
        if not self._begun:
            self.begin(command, target, version)

    def begin(self, command: bytes, target: bytes, version: bytes) -> None:
        """Start the application. The header is complete, the body need not be."""
        self._begun = True
        self.method, self.uri, self.clientproto = command, target, version
        self.path, _, _ = target.partition(b"?")
        if problem := self._normalize():
            self.basic_error(400, b"Bad Request", problem)
            return
        # A client must not name the prefix of the paths; and a request with a body cannot become a websocket.
        for header in [b"Daphne-Root-Path"] if self.received else [b"Daphne-Root-Path", b"Upgrade"]:
            self.requestHeaders.removeHeader(header)
        connection = self.channel
        self.process()
        if connection is not None and connection.transport.protocol is not connection:
            connection.became(connection.transport.protocol)

    def _normalize(self) -> str:
        """Make the target a path; what is wrong with the request, or an empty text."""
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        if len(hosts) > 1 or (self.clientproto == b"HTTP/1.1" and not hosts):
            return "The request must have one Host header."
        if absolute := _ABSOLUTE.match(self.uri):  # RFC 9112, 3.2.2: its host replaces the header
            self.requestHeaders.setRawHeaders(b"Host", [absolute[1]])
            rest = self.uri[absolute.end() :]
            self.uri = rest if rest.startswith(b"/") else b"/" + rest
        if not self.uri.startswith(b"/"):
            return "The target of the request must be a path or a URL."
        self.path, _, _ = self.uri.partition(b"?")
        return ""

    def application_reads(self) -> None:
        """A client that sent `Expect: 100-continue` sends its body only if somebody reads it."""
        expected = self.requestHeaders.getRawHeaders(b"Expect", [b""])[0].lower()
        if expected == b"100-continue" and self.clientproto == b"HTTP/1.1" and self.channel is not None:
            if not (self._is_continued or self.received or self.startedWriting):
                self.channel.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._is_continued = True

    def abandon(self) -> None:
        """The application gets no more of the body, and its response is not sent."""
        self.inbox.put_nowait({"type": "http.disconnect"})

    def hold(self) -> None:
        if self.channel is not None:
            self.channel.hold("unread")

    def release(self) -> None:
        if self.channel is not None:
            self.channel.release("unread")

    def handle_reply(self, message: dict[str, Any]) -> None:
        """The rest of a body that the application did not read would be taken for the next request, and that of a
        response to HEAD for the next response: Twisted drops only the first piece."""
        if message["type"] == "http.response.start" and not self.received and self.channel is not None:
            self.channel.persistent = False
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        if self.method == b"HEAD":
            message = message | {"body": b""}
        super().handle_reply(message)

    def handle_exception(self, exception: BaseException) -> None:
        """In the middle of a response, the connection ends without the last chunk: the client knows that it is not
        complete."""
        if not self._response_started:
            super().handle_exception(exception)
        elif self.channel is not None:
            self.channel.loseConnection()  # type: ignore[no-untyped-call]
