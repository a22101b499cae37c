"""The HTTP server of the web process: daphne, with limits for what a client may send and how long it may take
(docs/adr/0036-our-own-edge-of-daphne.md)."""

import asyncio
import logging
import resource
from collections.abc import Callable
from functools import partial
from socket import socket
from typing import Any

from daphne.http_protocol import HTTPFactory
from daphne.server import Server as Daphne  # installs the reactor: before any other import of it
from daphne.ws_protocol import WebSocketFactory
from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import Deferred
from twisted.logger import LimitedHistoryLogObserver, globalLogBeginner

from signals.lib.sockets import shown
from smartops.edge.connection import Connection, Connections
from smartops.edge.proxies import FORWARDED_FOR, FORWARDED_PROTO, Proxies, network
from smartops.edge.request import Request
from smartops.edge.websocket import MAX_MESSAGE, Websocket
from smartops.web import backlog

MAX_CONNECTIONS, MAX_CONNECTIONS_OF_PEER = 2000, 1000
NONE = Proxies()
OTHER_FILES = 200  # descriptors beside connections: database, LISTEN, logs

reactor: Any = installed_reactor
log = logging.getLogger(__name__)


class Factory(HTTPFactory):  # type: ignore[misc]
    """Makes the connections. Those of a named proxy may be as many as all together."""

    def __init__(self, server: "Server", proxies: Proxies) -> None:
        super().__init__(server)
        self.connections = Connections(MAX_CONNECTIONS, MAX_CONNECTIONS_OF_PEER)
        self._proxies = proxies

    def buildProtocol(self, addr: Any) -> Connection | None:
        connection = Connection()
        is_proxy = self._proxies.are_named and self._proxies.trusts(addr.host)
        if not self.connections.open(connection, network(addr.host), is_proxy=is_proxy):
            return None  # Twisted closes it
        connection.factory = self
        return connection

    def log(self, request: Any) -> None:
        """Twisted formats a line of its access log for each response, which daphne discards."""


class Server(Daphne):  # type: ignore[misc]
    """Serves `application` on `listener`, a listening TCP socket, until SIGTERM or SIGINT.

    Only `proxies` may set X-Forwarded-For and X-Forwarded-Proto. `root_path` is the prefix of all paths,
    as `/smartops`, if the site is not at the root of its host. A proxy may remove it or not."""

    def __init__(
        self,
        application: Callable[..., Any],
        listener: socket,
        proxies: Proxies = NONE,
        root_path: str = "",
    ) -> None:
        super().__init__(application, endpoints=[listener], root_path=root_path)
        self._listener, self._proxies = listener, proxies
        self._has_warned = False

    def run(self) -> None:
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = Factory(self, self._proxies)
        self.ws_factory = WebSocketFactory(self, server=self.server_name)
        self.ws_factory.protocol = Websocket
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=MAX_MESSAGE,
            maxFramePayloadSize=MAX_MESSAGE,
        )
        nowhere: Any = LimitedHistoryLogObserver(0)  # Twisted's own log; daphne and the application use Python's
        globalLogBeginner.beginLoggingTo([nowhere], redirectStandardIO=False, discardBuffer=True)
        _allow_files(MAX_CONNECTIONS + OTHER_FILES)
        self._listener.setblocking(False)
        reactor.adoptStreamPort(self._listener.fileno(), self._listener.family, self.http_factory)
        log.info("Listening on %s", shown(self._listener))
        asyncio.set_event_loop(reactor._asyncioEventloop)
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)
        reactor.run()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue[dict[str, Any]] | None:
        """As daphne does, but with the inbox of the request, and with what only we or a proxy may say of it."""
        if protocol not in self.connections:
            return None
        inbox: asyncio.Queue[dict[str, Any]] = protocol.inbox if isinstance(protocol, Request) else asyncio.Queue()
        scope = {"asgi": {"version": "3.0"}, **scope, **self._place(scope), **self._origin(scope)}
        if isinstance(protocol, Websocket):
            scope["extensions"] = {backlog.EXTENSION: protocol.is_behind}
        running = self.application(scope, inbox.get, partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(running)
        return inbox

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """An application that streams sends no faster than its client takes."""
        await super().handle_reply(protocol, message)
        if message.get("more_body") and isinstance(protocol, Request) and protocol.channel is not None:
            await protocol.channel.drained()

    def kill_all_applications(self) -> "Deferred[Any]":
        """Cancel what runs. Daphne's expects an application of each connection; one that is idle has none."""
        tasks = [one["application_instance"] for one in self.connections.values() if "application_instance" in one]
        for task in tasks:
            task.cancel()
        return Deferred.fromFuture(asyncio.gather(*tasks, return_exceptions=True))

    def _place(self, scope: dict[str, Any]) -> dict[str, Any]:
        """The path within the host. Probes, and agents within the cluster, do not know the prefix."""
        root, path, raw = self.root_path, scope["path"], scope["raw_path"]
        if root and not path.startswith(f"{root}/"):
            rest = "/" if path == root else path
            path, raw = root + rest, root.encode() + (b"/" if path == root else raw)
        return {"root_path": root, "path": path, "raw_path": raw}

    def _origin(self, scope: dict[str, Any]) -> dict[str, Any]:
        peer, port = scope["client"]
        client, headers = self._proxies.believed(peer, scope["headers"])
        if not self._has_warned and len(headers) < len(scope["headers"]) and not self._proxies.trusts(peer):
            self._has_warned = True
            log.warning(
                "%s and %s of %s are ignored: SMARTOPS_TRUSTED_PROXIES does not name it. This is logged once.",
                FORWARDED_FOR.decode(), FORWARDED_PROTO.decode(), client,
            )  # fmt: skip
        return {"client": [client, port], "headers": headers}


def _allow_files(number: int) -> None:
    """Raise the soft limit of open files, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
