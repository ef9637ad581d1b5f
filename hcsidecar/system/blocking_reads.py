"""Reading from a disk that may hang, without hanging with it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from hcsidecar.system.threads import start_thread

T = TypeVar("T")

AT_ONCE = 4
"Readings that may be under way; with a disk that hangs they stay so, and the next ones are refused at once."


class DiskHangsError(Exception):
    """There is no answer in time."""


class BlockingReader:
    """Does what may wait for a disk in a thread, for a while. For one event loop."""

    def __init__(self) -> None:
        self._under_way = 0

    async def read(self, work: Callable[[], T], *, limit: float) -> T:
        """Give what `work` gives, or raise what it raises; DiskHangsError after `limit` seconds, or NoThreadError."""
        if self._under_way >= AT_ONCE:
            raise DiskHangsError
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def tell(result: T | None, error: Exception | None) -> None:
            self._under_way -= 1
            if done.cancelled():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(result)  # type: ignore[arg-type]  # without an error there is a result

        def run() -> None:
            result, error = None, None
            try:
                result = work()
            except Exception as caught:  # noqa: BLE001 - it goes on in the one who asked
                error = caught
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tell, result, error)

        # A thread of its own that nobody joins: one of a pool would keep the process from ending.
        start_thread(run, name="reader")
        self._under_way += 1
        try:
            async with asyncio.timeout(limit):
                return await done
        except TimeoutError:
            raise DiskHangsError from None
