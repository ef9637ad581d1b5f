"""Waits at the start of a daemon for conditions that pass by themselves: a late address, a port in use, a mount."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, TypeVar

from hcsidecar.core.events import Event, Level
from hcsidecar.system.process import ServiceManager
from hcsidecar.system.signals import Signals

if TYPE_CHECKING:
    from tenacity import RetryCallState

_Given = TypeVar("_Given")

STILL: Final = "its start waits, as this may pass by itself"

INTERVAL: Final = 0.5
"Seconds between two attempts."
QUIET: Final = 15.0
"""Seconds of waiting after which the service manager is told that the start is over.

Neither `systemctl start` nor the boot of the machine should wait for an address that comes after an hour.
"""


class StoppedError(Exception):
    """Raised if this process was told to end while it waited."""


class StartConditions:
    """Retries a step of the start until it succeeds, as long as its errors may pass by themselves."""

    def __init__(
        self,
        *,
        signals: Signals,
        service: ServiceManager,
        tell: Callable[[Event], object],
        interval: float = INTERVAL,
        quiet: float = QUIET,
    ) -> None:
        self._signals = signals
        self._service = service
        self._tell = tell
        self._interval = interval
        self._quiet = quiet
        self.waits_for = ""
        "The condition that the start waits for; empty if it does not wait."

    async def until(
        self, step: Callable[[], Awaitable[_Given]], *, meanwhile: AbstractAsyncContextManager[object] | None = None
    ) -> _Given:
        """Return what the step returns.

        If the step raises an error whose `passing` is true, report it once and try the step again; `meanwhile` is
        entered for that time. Raise other errors, and StoppedError if this process is told to end meanwhile.
        """
        try:
            return await step()
        except Exception as error:
            if not passes(error):
                raise
            self.waits_for = str(error)
        async with meanwhile or contextlib.nullcontext():
            try:
                return await self._wait(step)
            finally:
                self.waits_for = ""

    async def _wait(self, step: Callable[[], Awaitable[_Given]]) -> _Given:
        loop = asyncio.get_running_loop()
        began, told = loop.time(), ""
        # Imported here because most starts do not wait.
        from tenacity import AsyncRetrying, retry_if_exception, wait_fixed  # noqa: PLC0415

        def tell_once(state: "RetryCallState") -> None:
            nonlocal told
            error = None if state.outcome is None else state.outcome.exception()
            self.waits_for = str(error)
            if self.waits_for != told:
                told = self.waits_for
                message = f"the start waits, as this may pass by itself: {told}"
                self._tell(Event(level=Level.WARNING, origin="daemon", message=message))
            self._service.tell(STATUS=f"waits: {told}", WATCHDOG=1)
            if loop.time() >= began + self._quiet:
                self._service.tell(READY=1)

        retrying = AsyncRetrying(
            retry=retry_if_exception(passes), wait=wait_fixed(self._interval), before_sleep=tell_once, sleep=self._sleep
        )
        given: _Given = await retrying(step)
        if told:
            over = f"the start goes on, {loop.time() - began:.3g} s later"
            self._tell(Event(level=Level.INFO, origin="daemon", message=over))
        return given

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._signals.ended.wait()
        if self._signals.ended.is_set():
            raise StoppedError


def passes(error: BaseException) -> bool:
    """Return whether an error is marked as one that may pass."""
    return bool(getattr(error, "passing", False))
