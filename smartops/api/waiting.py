"""How long a caller waits for its action (the header `Prefer`, RFC 7240), and the wait itself."""

import asyncio
import re
from collections.abc import Callable
from uuid import UUID

from asgiref.sync import sync_to_async

from orchestrator.models import FINAL, Action, ActionState
from smartops.web.notifications import follow

# Seconds. Most proxies end a request after 60 s without a response: the default leaves the response some time.
DEFAULT_WAIT, MAX_WAIT = 55, 300
# A review needs a person, which takes longer than a caller waits.
ENDS = (*FINAL, ActionState.NEEDS_REVIEW)
# So does an approval, unless the caller says how long it waits.
ENDS_BY_DEFAULT = (*ENDS, ActionState.AWAITING_APPROVAL)


def wait_of(prefer: str) -> int:
    """Seconds of `wait=N`; 0 for `respond-async` alone. A preference that cannot be parsed is ignored."""
    seconds = _seconds(prefer)
    if seconds is not None:
        return seconds
    return 0 if "respond-async" in _preferences(prefer) else DEFAULT_WAIT


def ends_of(prefer: str) -> tuple[ActionState, ...]:
    """The states that end the wait."""
    return ENDS_BY_DEFAULT if _seconds(prefer) is None else ENDS


def _seconds(prefer: str) -> int | None:
    for preference in _preferences(prefer):
        if match := re.fullmatch(r'wait\s*=\s*"?([0-9]{1,9})"?', preference):
            return min(int(match[1]), MAX_WAIT)
    return None


def _preferences(prefer: str) -> list[str]:
    return [part.strip().lower() for part in prefer.split(",")]


async def wait_for_end(pk: UUID, seconds: int, load: Callable[[UUID], Action], ends: tuple[ActionState, ...]) -> Action:
    """The action once its state is one of `ends`, or in its current state after `seconds`. `load` reads the row."""
    read = sync_to_async(load)
    try:
        async with asyncio.timeout(seconds), follow("action", pk) as changed:
            while True:
                changed.clear()
                action = await read(pk)
                if action.state in ends:
                    return action
                await changed.wait()
    except TimeoutError:
        return await read(pk)
