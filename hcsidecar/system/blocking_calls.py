"""Runs blocking calls in threads beside the event loop: few at a time, and never waiting for one that hangs."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from hcsidecar.system.threads import NoThreadError, start_thread

T = TypeVar("T")


class BusyError(Exception):
    """All places are taken by earlier calls that have not returned."""


class BlockingCalls:
    """Runs blocking calls, at most `at_once` at a time. For one event loop.

    A thread cannot be ended from outside. So a caller may be cancelled at any time, and the call that it leaves behind
    goes on and keeps its place until it returns. The threads are daemons: they hold up neither the end of the process,
    as those of an executor do until the last call has returned, nor the end of the loop, as asyncio's own do.
    """

    def __init__(self, name: str, *, at_once: int = 1) -> None:
        """Use `name` for the threads."""
        self._name = name
        self._places = asyncio.Semaphore(at_once)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises.

        Raise BusyError at once if there is no place, or NoThreadError if no thread can be started.
        """
        if self._places.locked():
            raise BusyError
        return await self.run_in_turn(work)

    async def run_in_turn(self, work: Callable[[], T]) -> T:
        """Wait for a place, then return what `work` returns, or raise what it raises, or NoThreadError."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        returned: list[T] = []
        raised: list[BaseException] = []

        def end() -> None:
            self._places.release()
            if not over.cancelled():
                over.set_result(None)

        def call() -> None:
            try:
                returned.append(work())
            except BaseException as error:  # noqa: BLE001 - it is raised again in the caller
                raised.append(error)
            with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(end)

        try:
            start_thread(call, name=self._name)
        except NoThreadError:
            self._places.release()
            raise
        await over
        if raised:
            raise raised[0]
        return returned[0]
