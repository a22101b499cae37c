"""The limits of request bodies. A body is counted while it arrives, and what exceeds a limit is not read.

A body of the API is read only for a caller with a token. If the header has none, not a byte is read. If it has what may
be one, MAX_UNVERIFIED bytes are read, then the token is verified.

What nobody has verified has a share that leaves room for the others. Callers without a valid token can hold as many
connections as the server admits, and fill a body on each for as long as it may take."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DatabaseError

from smartops import tokens
from smartops.edge.proxies import network
from smartops.web.fast_path import release_connection
from smartops.web.peers import peer_of_socket

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]

KIBIBYTE, MEBIBYTE = 1024, 1024 * 1024
API = "/v1/"
MAX_BODY, MAX_BODIES = MEBIBYTE, {"/v1/signals/batch": 4 * MEBIBYTE}  # of the API, also of one item of a batch
MAX_FORM = 256 * KIBIBYTE
MAX_UNVERIFIED = 64 * KIBIBYTE
# Of all requests at a time: of the API, of those among them whose token is not verified yet, and of forms.
MAX_HELD = {"api": 32 * MEBIBYTE, "unverified": 4 * MEBIBYTE, "form": 8 * MEBIBYTE}
MAX_FORMS_OF_CLIENT = 2 * MEBIBYTE
REFUSAL = "smartops.refusal"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a body was not read. 413: it has more than `limit` bytes. 503: the bodies of other requests have them."""

    status: int
    limit: int


def max_body(path: str) -> int:
    """`path` as the URL configuration gets it: decoded, and without the prefix of the site."""
    return MAX_BODIES.get(path, MAX_BODY if path.startswith(API) else MAX_FORM)


class Bodies:
    """The bodies that the requests of this process hold, in bytes: by kind, and the forms by client."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()
        self.forms: Counter[str] = Counter()

    @contextmanager
    def of(self, scope: Message, path: str, receive: Receive) -> Iterator[Receive]:
        """What the handler of this request receives its messages from."""
        body = _Body(self, scope, path, receive)
        try:
            yield body.receive
        finally:
            body.hold(-body.size)


class _Body:
    """Ends early if it must not be read. Then `scope[REFUSAL]` has the Refusal; or the caller has no token:
    authentication comes before the body is parsed, and refuses the request."""

    def __init__(self, bodies: Bodies, scope: Message, path: str, receive: Receive) -> None:
        self.size = 0
        self._bodies, self._scope, self._receive = bodies, scope, receive
        self._limit = max_body(path)
        self._kind = "unverified" if path.startswith(API) else "form"
        self._client = network(peer_of_socket(scope))
        self._has_begun = self._is_cut = False
        header = self._header = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        scheme, _, token = header.get("authorization", "").partition(" ")
        self._token = token if scheme.lower() == "bearer" else ""

    async def receive(self) -> Message:
        if self._is_cut:  # the response comes soon, whether or not the client is still there
            await asyncio.Event().wait()
        if not self._has_begun:
            self._has_begun = True
            if await self._exceeds(self._announced()):
                return self._cut()
        message = await self._receive()
        size = len(message.get("body", b""))
        if size and await self._exceeds(self.size + size):
            return self._cut()
        self.hold(size)
        return message

    def hold(self, size: int) -> None:
        self.size += size
        self._bodies.held[self._kind] += size
        if self._kind == "form":
            self._bodies.forms[self._client] += size
            if not self._bodies.forms[self._client]:
                del self._bodies.forms[self._client]

    def _announced(self) -> int:
        length = self._header.get("content-length", "")
        return int(length) if length.isdecimal() else int("transfer-encoding" in self._header)

    async def _exceeds(self, size: int) -> bool:
        """Whether the body must not be read up to this size."""
        if not size:
            return False
        if self._kind != "form" and not tokens.is_well_formed(self._token):
            return True
        if size > self._limit:
            self._scope[REFUSAL] = Refusal(413, self._limit)
            return True
        if self._kind == "unverified" and (size > MAX_UNVERIFIED or self._has_no_room(size)):
            if not await _is_valid(self._token):
                return True
            held, self.size = self.size, 0
            self._bodies.held["unverified"] -= held
            self._kind = "api"
            self.hold(held)
        if self._has_no_room(size):
            self._scope[REFUSAL] = Refusal(503, MAX_HELD[self._kind])
        return REFUSAL in self._scope

    def _has_no_room(self, size: int) -> bool:
        more = size - self.size
        if self._kind == "form" and self._bodies.forms[self._client] + more > MAX_FORMS_OF_CLIENT:
            return True
        return self._bodies.held[self._kind] + more > MAX_HELD[self._kind]

    def _cut(self) -> Message:
        self._is_cut = True
        return {"type": "http.request", "body": b"", "more_body": False}


@sync_to_async
def _is_valid(token: str) -> bool:
    """Also if the database does not say: then authentication answers 503."""
    try:
        return tokens.verify(token) is not None
    except DatabaseError:
        return True
    finally:
        release_connection()
