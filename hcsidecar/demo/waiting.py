"""Waits for a condition, with a limit."""

import asyncio
from collections.abc import Callable

_POLL = 0.02
"Seconds between two checks of the condition."


async def until(condition: Callable[[], bool], *, limit: float) -> float | None:
    """Wait until a condition holds, and return the seconds that it took; None after the limit."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not condition():
        if loop.time() - begin > limit:
            return None
        await asyncio.sleep(_POLL)
    return loop.time() - begin
