"""Handles Ctrl-C, SIGTERM and SIGHUP: the first one cancels the demo, which then cleans up; more are ignored."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Result = TypeVar("Result")


class Interrupted(Exception):  # noqa: N818 - it is not an error
    """Raised if a signal cancelled the demo, after it has cleaned up."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_status = 128 + number
        "The exit status, as in shells."


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, and return its result. Raise Interrupted if a signal came first."""
    return asyncio.run(_interruptible(main))


async def _interruptible(main: Coroutine[Any, Any, Result]) -> Result:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    came: list[signal.Signals] = []

    def interrupt(number: signal.Signals) -> None:
        if not came:
            came.append(number)
            task.cancel()

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
            loop.add_signal_handler(number, interrupt, number)
    try:
        return await task
    except asyncio.CancelledError:
        if came:
            raise Interrupted(came[0]) from None
        raise
