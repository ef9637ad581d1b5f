"""Blocking work of a check, in a thread beside the loop: one piece at a time, and none that hangs is waited for."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from hcsidecar.system.threads import start_thread

_Given = TypeVar("_Given")


class WorkerThread:
    """The thread of one check. Work that hangs keeps the lane, so that a check never runs beside itself.

    A thread cannot be ended from outside. So a caller may be cancelled at any time, the work that it leaves behind goes
    on, and the next caller waits for that. The threads are daemons: none holds up the end of the process.
    """

    def __init__(self) -> None:
        self._last: asyncio.Future[None] | None = None

    async def run(self, work: Callable[[], _Given]) -> _Given:
        """Do it when all former work is done; gives what it gives and raises what it raises, or NoThreadError."""
        loop = asyncio.get_running_loop()
        while self._last is not None and not self._last.done():
            await asyncio.wait({self._last})
        given: list[_Given] = []
        raised: list[BaseException] = []
        done = loop.create_future()

        def do() -> None:
            try:
                given.append(work())
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                raised.append(error)
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(done.set_result, None)

        start_thread(do, name="check")
        self._last = done
        await asyncio.wait({done})
        if raised:
            raise raised[0]
        return given[0]
