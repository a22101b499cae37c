"""How long a sign-in has to wait after failures. Pure: values and `now` in, a duration out."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

FORGET = timedelta(hours=1)  # after the last failure
NONE = timedelta(0)


@dataclass(frozen=True, slots=True)
class Allowance:
    """`free` failures in a row cost nothing. Each further one costs a pause: 1 s, doubled up to `longest`."""

    free: int
    longest: timedelta

    def pause(self, failures: int) -> timedelta:
        over = failures - self.free
        return NONE if over <= 0 else min(self.longest, timedelta(seconds=2 ** min(over - 1, 20)))


# One account from one client. Others are not affected: nobody can lock somebody else out.
ACCOUNT_OF_CLIENT = Allowance(5, timedelta(minutes=15))
# All accounts from one client: one password tried on many accounts.
CLIENT = Allowance(20, timedelta(minutes=15))
# One account from all clients: slower, but never closed. 3,600 guesses an hour find no password that is not common.
ACCOUNT = Allowance(50, timedelta(seconds=1))
# Answers with a passkey from one client. A signature cannot be guessed: the pause only limits the work and the rows.
PASSKEYS = Allowance(20, timedelta(seconds=1))
# Sign-ins by a provider that a client has begun and not ended: each is a request to the provider, and a session. Many
# people may share an address, and close the window: slower, but never closed.
STARTS = Allowance(50, timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Failures:
    """What is stored of one key: failures in a row, and when the last one was."""

    allowance: Allowance
    count: int
    last_at: datetime


def wait(stored: Iterable[Failures], now: datetime) -> timedelta:
    """How long until the next attempt. Zero: it may be made now."""
    return max((_left(one, now) for one in stored), default=NONE)


def seconds(left: timedelta) -> int:
    """As a person reads it, and `Retry-After` has it."""
    return ceil(left.total_seconds())


def counted(count: int, last_at: datetime, now: datetime) -> int:
    """The failures that still count."""
    return 0 if last_at <= now - FORGET else count


def _left(one: Failures, now: datetime) -> timedelta:
    pause = one.allowance.pause(counted(one.count, one.last_at, now))
    return max(NONE, one.last_at + pause - now) if pause else NONE
