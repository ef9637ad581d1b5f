"""Ctrl-C and its relatives: the first one cancels what runs, so that it cleans up; more of them change nothing."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Result = TypeVar("Result")


class Interrupted(Exception):  # noqa: N818 - no error, but somebody's wish
    """What ran was cancelled by a signal, and has cleaned up."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_status = 128 + number
        "As shells count it."


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end; Interrupted if a signal came first."""
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
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wishes it
            loop.add_signal_handler(number, interrupt, number)
    try:
        return await task
    except asyncio.CancelledError:
        if came:
            raise Interrupted(came[0]) from None
        raise
