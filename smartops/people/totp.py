"""One-time codes of an authenticator app: TOTP (RFC 6238) with SHA-1, 6 digits and 30 s, which all apps know. Pure."""

import hmac
from base64 import b32encode
from datetime import datetime
from urllib.parse import quote, urlencode

PERIOD, DIGITS = 30, 6  # seconds
DRIFT = 1  # periods that the clock of a phone may be ahead or behind


def code(secret: bytes, counter: int) -> str:
    digest = hmac.digest(secret, counter.to_bytes(8, "big"), "sha1")
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def counter_at(now: datetime) -> int:
    return int(now.timestamp()) // PERIOD


def counter_of(secret: bytes, entered: str, now: datetime) -> int | None:
    """The counter whose code was entered; None if it is no code of this time."""
    around = range(counter_at(now) - DRIFT, counter_at(now) + DRIFT + 1)
    # All are compared, so that the time says nothing.
    matching = [one for one in around if hmac.compare_digest(code(secret, one).encode(), entered.encode())]
    return max(matching, default=None)


def key(secret: bytes) -> str:
    """As a person types it into an app."""
    return b32encode(secret).decode().rstrip("=")


def address(secret: bytes, account: str, issuer: str) -> str:
    """What the QR code says (the Key URI Format of authenticator apps)."""
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    query = urlencode({"secret": key(secret), "issuer": issuer, "digits": DIGITS, "period": PERIOD}, quote_via=quote)
    return f"otpauth://totp/{label}?{query}"
