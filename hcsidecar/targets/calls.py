"""Blocking calls to a balancer, one at a time, without waiting for one that hangs. Other packages' kinds use it too."""

from collections.abc import Callable
from typing import TypeVar

from hcsidecar.core.targets.registration import TargetError, Trouble
from hcsidecar.system.blocking_calls import BlockingCalls, BusyError
from hcsidecar.system.threads import NoThreadError

T = TypeVar("T")


class Calls:
    """The calls to one balancer. While one hangs, the next ones fail at once, without starting a thread."""

    def __init__(self) -> None:
        self._calls = BlockingCalls("call to a balancer")

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises. Raise TargetError if it cannot be started."""
        try:
            return await self._calls.run(work)
        except BusyError:
            raise TargetError(Trouble.RETRY, "the former call still has no answer") from None
        except NoThreadError as error:
            raise TargetError(Trouble.RETRY, str(error.strerror)) from None
