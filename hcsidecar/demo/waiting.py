"""Waits for something to come true, with a limit."""

import asyncio
from collections.abc import Callable

_POLL = 0.02
"Seconds between two looks."


async def until(condition: Callable[[], bool], *, limit: float) -> float | None:
    """Wait until a condition holds: the seconds that it took, None if it did not within the limit."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not condition():
        if loop.time() - begin > limit:
            return None
        await asyncio.sleep(_POLL)
    return loop.time() - begin
