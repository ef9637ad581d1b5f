"""How many restarts an application may cost before it stops for good: SafeKit's maxloop and loop_interval."""

from collections.abc import Iterable
from dataclasses import dataclass

from hcsidecar.core.farmfile.values import format_duration
from hcsidecar.core.plain_text import shortened

_LONGEST = 200
"Characters of a reason that are kept: a thousand failures must fit into the file that remembers them."
_TOLD = 4
"Failures that a story tells one by one, the newest."
_MINUTE = 60
_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure that led to a restart."""

    at: float
    "Seconds of the monotonic clock; negative when it was before this machine's last start."
    why: str


class RestartBudget:
    """Failures within a window of time; the one after `most` is one too many. A window of 0 s counts nothing."""

    def __init__(self, *, most: int, window: float, failures: Iterable[Failure] = ()) -> None:
        self.most = most
        self.window = window
        self._failures = tuple(failures)

    def failures(self, *, now: float) -> tuple[Failure, ...]:
        """Give those that still count, the oldest first."""
        return tuple(failure for failure in self._failures if now - failure.at < self.window)

    def used(self, *, now: float) -> int:
        """Count them."""
        return len(self.failures(now=now))

    def is_reached(self, *, now: float) -> bool:
        """Tell whether the next failure would stop the application."""
        return self.window > 0 and self.used(now=now) >= self.most

    def spend(self, why: str, *, now: float) -> str | None:
        """Count a failure; gives the whole story if it is one too many, and counts no further then."""
        before = self.failures(now=now)
        failure = Failure(at=now, why=shortened(why, _LONGEST))
        if self.window > 0 and len(before) >= self.most:
            return self._story((*before, failure), now=now)
        self._failures = (*before, failure)
        return None

    def reset(self) -> None:
        """Forget all: the operator has taken over."""
        self._failures = ()

    def _story(self, failures: tuple[Failure, ...], *, now: float) -> str:
        newest = failures[-_TOLD:]
        earlier = f"{len(failures) - len(newest)} before; " if len(newest) < len(failures) else ""
        told = earlier + "; ".join(f"{_ago(now - failure.at)}: {failure.why}" for failure in newest)
        return f"failure {len(failures)} within {format_duration(self.window)}, more than max_restarts allows: {told}"


def _ago(seconds: float) -> str:
    if seconds < 1:
        return "now"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s ago"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min ago"
    return f"{seconds / _HOUR:.0f} h ago"
