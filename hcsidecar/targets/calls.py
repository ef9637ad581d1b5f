"""Blocking calls to a balancer, in a thread beside the loop: one at a time, and none that hangs is waited for.

Threads of an executor hold up the end of a process until the last call has come back, and asyncio's own hold up the
end of its loop as well. These are daemons, and hold up nobody.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import TypeVar

from hcsidecar.core.targets.registration import TargetError, Trouble
from hcsidecar.system.threads import NoThreadError, start_thread

_Given = TypeVar("_Given")


class Calls:
    """The calls to one balancer. One that hangs keeps its place: the next fails at once, and starts no thread."""

    def __init__(self) -> None:
        self._busy = False

    async def run(self, work: Callable[[], _Given]) -> _Given:
        """Do it; gives what it gives and raises what it raises. When cancelled, the work that is left goes on alone."""
        if self._busy:
            raise TargetError(Trouble.RETRY, "the former call still has no answer")
        loop = asyncio.get_running_loop()
        given: list[_Given] = []
        raised: list[BaseException] = []
        done = asyncio.Event()

        def over() -> None:
            self._busy = False
            done.set()

        def do() -> None:
            try:
                given.append(work())
            except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
                raised.append(error)
            with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                loop.call_soon_threadsafe(over)

        try:
            start_thread(do, name="call to a balancer")
        except NoThreadError as error:
            raise TargetError(Trouble.RETRY, str(error.strerror)) from None
        self._busy = True
        await done.wait()
        if raised:
            raise raised[0]
        return given[0]
