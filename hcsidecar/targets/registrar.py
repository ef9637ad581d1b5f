"""Runs the reconcile loop of one target: makes the calls that it wants, with a time limit, and reports the results."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from math import inf

from hcsidecar.core.events import Event
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Call, Observation, TargetError, Trouble
from hcsidecar.targets.kind import Balancer

CLOSING = 1.0
"Seconds that a balancer may take to close."
_LONGEST_TEXT = 500
"Characters of a failure that are kept; an error may quote a whole page."


class Registrar:
    """One target on the running loop.

    `limit` is the time for a call in seconds, `tell` takes events. Nothing else ever waits for the balancer.
    """

    def __init__(
        self, reconciler: Reconciler, balancer: Balancer, *, limit: float, tell: Callable[[Event], None]
    ) -> None:
        self._reconciler = reconciler
        self._balancer = balancer
        self._limit = limit
        self._tell = tell
        self._former: list[Balancer] = []
        "Balancers that others have replaced, to be closed after the call in progress."
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self.has_ended = False
        "The target was removed from the farm file, and nothing more is to be done there."

    async def run(self) -> None:
        """Reconcile until cancelled, or until a removed target may be forgotten."""
        try:
            while True:
                self._say(self._reconciler.tick(now=self._loop.time()))
                while self._former:
                    await _close(self._former.pop())
                if self._reconciler.is_over(now=self._loop.time()):
                    self.has_ended = True
                    return
                call = self._reconciler.due(now=self._loop.time())
                if call is None:
                    await self._wait()
                else:
                    await self._make(call)
        finally:
            await asyncio.gather(*(_close(balancer) for balancer in (*self._former, self._balancer)))

    def take_over(self, balancer: Balancer, *, limit: float) -> None:
        """Make the next calls through another balancer; a call in progress goes on to its end."""
        self._former.append(self._balancer)
        self._balancer, self._limit = balancer, limit
        self._changed.set()

    def follow(self, situation: Situation) -> None:
        """Take the situation of the node, without waiting."""
        self._say(self._reconciler.follow(situation, now=self._loop.time()))
        self._changed.set()

    async def _make(self, call: Call) -> None:
        trouble, text, seen = None, "", None
        try:
            async with asyncio.timeout(self._limit):
                seen = await self._call(call)
        except TargetError as error:
            trouble, text = error.trouble, error.text
        except TimeoutError:
            trouble, text = Trouble.RETRY, f"no answer within {self._limit:g} s"
        except Exception as error:  # noqa: BLE001 - what an SDK or another package makes of a bad answer is anyone's guess
            trouble, text = Trouble.RETRY, f"{type(error).__name__}: {error}"
        now = self._loop.time()
        if trouble is not None:
            self._say(self._reconciler.failed(call, trouble, text[:_LONGEST_TEXT], now=now))
        elif seen is not None:
            self._say(self._reconciler.observed(seen, now=now))
        else:
            self._say(self._reconciler.done(call, now=now))

    async def _call(self, call: Call) -> Observation | None:
        match call:
            case Call.OBSERVE:
                seen = await self._balancer.observe()
                if not isinstance(seen, Observation):
                    # mypy does not look into other packages.
                    raise TypeError(f"observe gives {type(seen).__name__}, and no Observation")
                return seen
            case Call.REGISTER:
                await self._balancer.register()
            case Call.DEREGISTER:
                await self._balancer.deregister()
            case Call.RETIRE:
                await self._balancer.retire()
        return None

    async def _wait(self) -> None:
        """Wait until something is due, or the situation has changed."""
        now = self._loop.time()
        seconds = self._reconciler.next_at(now=now) - now
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == inf else max(0.0, seconds)):
                await self._changed.wait()

    def _say(self, events: Iterable[Event]) -> None:
        for event in events:
            self._tell(event)


async def _close(balancer: Balancer) -> None:
    with contextlib.suppress(Exception):  # it is the end, and nobody could act on the error
        async with asyncio.timeout(CLOSING):
            await balancer.close()
