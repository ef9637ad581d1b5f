"""Waiting for what must take real time: for a condition, with a limit."""

import asyncio
import functools
import time


async def until(condition, *, limit=5.0, what="the condition"):
    """Let the loop run until `condition()` is true; fail after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {limit} s"
        await asyncio.sleep(0.005)


def on_a_loop(test):
    """Make a test of a coroutine."""

    @functools.wraps(test)
    def run(*arguments, **named):
        asyncio.run(test(*arguments, **named))

    return run
