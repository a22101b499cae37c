"""Exports of the audit: what a search finds, as a stream of bytes. The export itself is recorded, before its first byte
and at its end."""

import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from asgiref.sync import sync_to_async
from django.db import Error, connection, transaction
from django.db.models.functions import Now

from signals.actors import Actor
from signals.lib.availability import describe
from smartops.audit.files import FORMATS, End
from smartops.audit.merge import stream
from smartops.audit.search import Search
from smartops.models import AuditExport
from smartops.people.access import Access
from smartops.web.fast_path import release_connection

log = logging.getLogger(__name__)

PIECE = 64 * 1024  # bytes
PER_HOUR, AT_ONCE = 20, 2  # exports of one person
Outcome = AuditExport.Outcome


class TooMany(Exception):  # noqa: N818 - a refusal is an answer
    """The message says which limit is met, and when to try again."""


def begin(actor: Actor, address: str, format_name: str, search: Mapping[str, str]) -> AuditExport:
    """Records that the person takes what the search finds. `search`: the parameters, as the page has them. Raises
    TooMany."""
    with transaction.atomic():
        with connection.cursor() as cursor:  # of two requests at once, the second counts the first
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('smartops export'), hashtext(%s))", [actor])
        recent = AuditExport.objects.filter(actor=actor, at__gt=Now() - timedelta(hours=1))
        if recent.filter(outcome="").count() >= AT_ONCE:
            raise TooMany(f"{AT_ONCE} exports of yours are running. Wait for the end of one, or cancel its download.")
        if recent.count() >= PER_HOUR:
            raise TooMany(f"You have exported the audit {PER_HOUR} times within an hour. Try again later.")
        export = AuditExport(actor=actor, address=address, format=format_name, search=dict(search))
        export.save()
        export.refresh_from_db(fields=["at"])
    return export


class RightsChanged(Exception):  # noqa: N818 - the answer to it is an incomplete file
    pass


@dataclass
class Pieces:
    """The file, in pieces of some 64 KiB. Each `next` uses the database and returns its session, so that a client that
    reads slowly holds nothing. `access`: what the person may see when the export begins; `now`: at each piece."""

    export: AuditExport
    access: Access
    search: Search
    now: Callable[[], Access]
    rows: int = 0
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.format = FORMATS[self.export.format]
        until = min(filter(None, (self.search.until, self.export.at)))
        self.search = replace(self.search, until=until)
        self._pieces = self._made()

    def next(self) -> bytes | None:
        try:
            if self.now() != self.access:
                raise RightsChanged("The rights of your account have changed since the export began. Export again.")
            return next(self._pieces, None)
        finally:
            release_connection()

    def end(self, outcome: Outcome, error: str = "") -> bytes:
        """The last line. The outcome is recorded, if the database can record it."""
        digest = self.digest.hexdigest()
        try:
            AuditExport.objects.filter(pk=self.export.pk, outcome="").update(
                outcome=outcome, rows=self.rows, sha256=digest, ended_at=Now()
            )
        except Error as failure:
            log.warning("the end of the export %s is not recorded: %s", self.export.pk, describe(failure))
        finally:
            release_connection()
        assert self.search.until is not None
        return self.format.end(End(self.rows, digest, self.search.until, error))

    def _made(self) -> Iterator[bytes]:
        piece, rows = bytearray(self.format.header), 0
        for entry in stream(self.access, self.search, whole=self.format.whole):
            piece += self.format.line(entry)
            rows += 1
            if len(piece) >= PIECE:
                yield self._counted(piece, rows)
                piece, rows = bytearray(), 0
        yield self._counted(piece, rows)

    def _counted(self, piece: bytearray, rows: int) -> bytes:
        self.digest.update(piece)
        self.rows += rows
        return bytes(piece)


def _cause(error: Exception) -> str:
    if isinstance(error, RightsChanged):
        return str(error)
    return f"The database failed: {describe(error)}" if isinstance(error, Error) else "It failed: see the log."


async def sent(pieces: Pieces) -> AsyncIterator[bytes]:
    """For a streaming response. An error ends the file with a line that says so, and then the connection without the
    last chunk of HTTP, so that no client takes the file for complete."""
    end, take = sync_to_async(pieces.end), sync_to_async(pieces.next)
    try:
        while (piece := await take()) is not None:
            yield piece
    except Exception as error:
        yield await end(Outcome.FAILED, _cause(error))
        raise
    except BaseException:  # the client is gone: the request is cancelled, or this generator is closed
        await end(Outcome.ABORTED)
        raise
    yield await end(Outcome.COMPLETE)
