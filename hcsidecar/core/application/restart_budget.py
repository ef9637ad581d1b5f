"""Limits the restarts after failures before an application stops for good: SafeKit's maxloop and loop_interval."""

from collections.abc import Iterable
from dataclasses import dataclass

from hcsidecar.core.farmfile.values import format_duration
from hcsidecar.core.plain_text import shortened

_LONGEST = 200
"The most characters of a reason that are kept, so that a thousand failures fit into the state file."
_TOLD = 4
"The number of newest failures that a summary lists."
_MINUTE = 60
_HOUR = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure that led to a restart."""

    at: float
    "In seconds of the monotonic clock; negative if it was before the last boot of this machine."
    why: str


class RestartBudget:
    """The failures within a window of time, of which `most` are allowed. With a window of 0 s, nothing is counted."""

    def __init__(self, *, most: int, window: float, failures: Iterable[Failure] = ()) -> None:
        self.most = most
        self.window = window
        self._failures = tuple(failures)

    def failures(self, *, now: float) -> tuple[Failure, ...]:
        """Return the failures that still count, the oldest first."""
        return tuple(failure for failure in self._failures if now - failure.at < self.window)

    def used(self, *, now: float) -> int:
        """Return the number of failures that still count."""
        return len(self.failures(now=now))

    def is_reached(self, *, now: float) -> bool:
        """Return whether the next failure would stop the application."""
        return self.window > 0 and self.used(now=now) >= self.most

    def spend(self, why: str, *, now: float) -> str | None:
        """Count a failure. If it exceeds the budget, return a summary of all failures and do not count it."""
        before = self.failures(now=now)
        failure = Failure(at=now, why=shortened(why, _LONGEST))
        if self.window > 0 and len(before) >= self.most:
            return self._summary((*before, failure), now=now)
        self._failures = (*before, failure)
        return None

    def reset(self) -> None:
        """Forget all failures, after a command of the operator."""
        self._failures = ()

    def _summary(self, failures: tuple[Failure, ...], *, now: float) -> str:
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
