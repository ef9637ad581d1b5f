"""Waiting for what must take real time: for a condition, with a limit."""

import asyncio
import functools
import sys
import threading
import time
import traceback


async def until(condition, *, limit=5.0, what="the condition"):
    """Let the loop run until `condition()` is true; fail after `limit` seconds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {limit} s"
        await asyncio.sleep(0.005)


async def turns_beside(work, function):
    """Let something run; give its result, and how many turns the loop made while another thread was in this function.

    What keeps the interpreter to itself lets the loop make none: that needs no clock, and no quiet machine.
    """
    task, turns = asyncio.ensure_future(work), 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += _another_thread_is_in(function.__code__)
    return await task, turns


def _another_thread_is_in(code):
    frames = sys._current_frames()
    del frames[threading.get_ident()]
    return any(frame.f_code is code for innermost in frames.values() for frame, _ in traceback.walk_stack(innermost))


def on_a_loop(test):
    """Make a test of a coroutine."""

    @functools.wraps(test)
    def run(*arguments, **named):
        asyncio.run(test(*arguments, **named))

    return run
