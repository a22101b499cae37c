"""API tokens: `smo_<id, 12>_<secret, 32><checksum, 6>`, in base62.

The id finds the row; only an HMAC of the rest is stored. The checksum rejects mistyped tokens before any query, and
lets scanners recognize a leaked token.
"""

import hmac
import re
import secrets
import string
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from json import loads
from zlib import crc32

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from smartops.models import Token

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH, SECRET_LENGTH, CHECKSUM_LENGTH = 12, 32, 6
USE_RECORDED_EVERY = 60  # seconds
# Every request runs this query: the ORM would take longer to build it than PostgreSQL to answer it.
_IN_FORCE = """
    SELECT name, scopes, namespaces, digest,
        coalesce(last_used_at > statement_timestamp() - %s * interval '1 second', false)
    FROM smartops_token
    WHERE lookup = %s AND revoked_at IS NULL AND coalesce(expires_at > statement_timestamp(), true)
"""
_FORM = re.compile(r"smo_([0-9A-Za-z]{12})_([0-9A-Za-z]{32})([0-9A-Za-z]{6})")


class Scope(StrEnum):
    READ = "read"
    SIGNALS_WRITE = "signals:write"
    ACTIONS_WRITE = "actions:write"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller that a token authenticates. Without namespaces it may read and act in all of them."""

    name: str
    scopes: frozenset[str]
    namespaces: Collection[str] = ()

    def allows(self, namespace: str) -> bool:
        return not self.namespaces or namespace in self.namespaces


def issue(
    name: str, scopes: Iterable[Scope], namespaces: Iterable[str] = (), expires_at: datetime | None = None
) -> str:
    """Store a new token and return its text, which cannot be read again. Raises IntegrityError if the name is taken."""
    lookup, secret = _random(ID_LENGTH), _random(SECRET_LENGTH)
    Token.objects.create(
        name=name,
        lookup=lookup,
        digest=_digest(settings.SMARTOPS_TOKEN_PEPPERS[0], lookup, secret),
        scopes=sorted(set(scopes)),
        namespaces=sorted(set(namespaces)),
        expires_at=expires_at,
    )
    return f"smo_{lookup}_{secret}{checksum(lookup, secret)}"


def verify(text: str) -> Principal | None:
    """The principal of a token; None if it is malformed, unknown, expired or revoked. One indexed query, none for
    malformed text."""
    match = _FORM.fullmatch(text)
    if match is None or checksum(match[1], match[2]) != match[3]:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_IN_FORCE, [USE_RECORDED_EVERY, match[1]])
        row = cursor.fetchone()
    if row is None:
        return None
    name, scopes, namespaces, digest, used_lately = row
    if not _matches(bytes(digest), match[1], match[2]):
        return None
    if not used_lately:
        Token.objects.filter(lookup=match[1]).update(last_used_at=Now())
    return Principal(name, frozenset(loads(scopes)), tuple(loads(namespaces)))


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
