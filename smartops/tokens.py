"""API tokens: `smo_<id, 12>_<secret, 32><checksum, 6>`, in base62.

The id finds the row; of the rest only an HMAC is stored. The checksum rejects typing errors before any query, and lets
secret scanners recognize a leaked token.
"""

import hmac
import logging
import re
import secrets
import string
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from time import monotonic
from zlib import crc32

from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models.functions import Now

from signals import actors
from signals.actors import Actor
from signals.allowance import Quota
from signals.lib.availability import describe, is_repeatable
from smartops.models import Token

log = logging.getLogger(__name__)

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 32, 6
USE_RECORDED_EVERY = timedelta(seconds=60)
# A process sees a revocation, or any other change of a token, after at most this time. Expiry is exact.
CACHED_FOR = 1.0  # seconds
_FORM = re.compile(r"smo_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})")


class Scope(StrEnum):
    READ = "read"
    SIGNALS_WRITE = "signals:write"
    ACTIONS_WRITE = "actions:write"
    RULES_TRY = "rules:try"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller that a token authenticates. Without namespaces it may read and act in all of them. `quota`: of its
    signals."""

    name: str
    scopes: frozenset[str]
    namespaces: Collection[str]
    quota: Quota

    @property
    def actor(self) -> Actor:
        return actors.token(self.name)

    def allows(self, namespace: str) -> bool:
        return not self.namespaces or namespace in self.namespaces


def issue(
    name: str, scopes: Iterable[Scope], namespaces: Iterable[str] = (), expires_at: datetime | None = None
) -> str:
    """Store a new token and return its text, which cannot be read again. Raises ValidationError for a name, namespace
    or end that a token cannot have, and IntegrityError if the name is taken."""
    lookup, secret = _random(ID_LENGTH), _random(SECRET_LENGTH)
    token = Token(
        name=name,
        lookup=lookup,
        digest=_digest(settings.SMARTOPS_TOKEN_PEPPERS[0], lookup, secret),
        scopes=sorted(set(scopes)),
        namespaces=sorted(set(namespaces)),
        expires_at=expires_at,
    )
    token.clean()
    token.save()
    return f"smo_{lookup}_{secret}{checksum(lookup, secret)}"


@dataclass(frozen=True, slots=True)
class _Cached:
    """A row that was valid when it was read. `until`: of the monotonic clock."""

    principal: Principal
    digest: bytes
    use_recorded: bool
    until: float


_record_from = float("-inf")  # of the monotonic clock
_cache: dict[str, _Cached] = {}  # by `lookup`; only valid tokens get in, so the table bounds its size


def forget(lookup: str) -> None:
    """Makes this process read the token again at its next use. The others do so within `CACHED_FOR`."""
    _cache.pop(lookup, None)


def revoke(token: Token) -> bool:
    """Ends the token for good. False if it was revoked before. Use it within a transaction."""
    revoked = Token.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=Now())
    transaction.on_commit(lambda: forget(token.lookup))
    return bool(revoked)


def is_well_formed(text: str) -> bool:
    """Whether it may be a token. Nothing secret is needed to make such a text."""
    return _parse(text) is not None


def verify(text: str) -> Principal | None:
    """The holder of this token; None if it is malformed, unknown, revoked or expired. Malformed text causes no query, a
    valid token at most one per `CACHED_FOR`. The secret is compared each time."""
    parts = _parse(text)
    if parts is None:
        return None
    lookup, secret = parts
    found = _cache.get(lookup)
    if found is None or found.until <= monotonic():
        found = _read(lookup)
    if found is None or not _matches(found.digest, lookup, secret):
        return None
    if not found.use_recorded:
        _record_use(lookup)
        _cache[lookup] = replace(found, use_recorded=True)
    return found.principal


def _record_use(lookup: str) -> None:
    """A database that refuses the write must not make a read fail."""
    global _record_from
    if monotonic() < _record_from:
        return
    try:
        Token.objects.filter(lookup=lookup).update(last_used_at=Now())
    except Error as error:
        if not is_repeatable(error) or connection.in_atomic_block:
            raise
        pause = USE_RECORDED_EVERY.total_seconds()
        _record_from = monotonic() + pause
        log.warning("the last use of tokens is not recorded for %.0f s: %s", pause, describe(error))
        connection.close()  # the request goes on with another session


def _parse(text: str) -> tuple[str, str] | None:
    match = _FORM.fullmatch(text)
    return (match[1], match[2]) if match and checksum(match[1], match[2]) == match[3] else None


def _read(lookup: str) -> _Cached | None:
    began = monotonic()  # before the query: the time left is then never too long
    row = Token.objects.filter(lookup=lookup, revoked_at=None).annotate(now=Now()).first()
    left = None if row is None or row.expires_at is None else (row.expires_at - row.now).total_seconds()
    if row is None or (left is not None and left <= 0):
        _cache.pop(lookup, None)
        return None
    found = _cache[lookup] = _Cached(
        principal=Principal(row.name, frozenset(row.scopes), tuple(row.namespaces), _quota(row)),
        digest=bytes(row.digest),
        use_recorded=row.last_used_at is not None and row.last_used_at > row.now - USE_RECORDED_EVERY,
        until=began + (CACHED_FOR if left is None else min(CACHED_FOR, left)),
    )
    return found


def _quota(row: Token) -> Quota:
    return Quota(
        row.signals_per_minute or settings.SMARTOPS_SIGNALS_PER_MINUTE,
        row.waiting_signals or settings.SMARTOPS_WAITING_SIGNALS,
    )


def checksum(lookup: str, secret: str) -> str:
    value, digits = crc32(f"smo_{lookup}_{secret}".encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _digest(pepper: str, lookup: str, secret: str) -> bytes:
    return hmac.digest(pepper.encode(), f"{lookup}_{secret}".encode(), sha256)


def _matches(digest: bytes, lookup: str, secret: str) -> bool:
    peppers = settings.SMARTOPS_TOKEN_PEPPERS
    return any(hmac.compare_digest(digest, _digest(pepper, lookup, secret)) for pepper in peppers)
