"""How many restarts an application may cost before its module stops: SafeKit's maxloop and loop_interval."""

from collections.abc import Iterable
from dataclasses import dataclass

from hcsidecar.core.values import format_duration

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
        """Tell whether the next failure would stop the module."""
        return self.window > 0 and self.used(now=now) >= self.most

    def spend(self, why: str, *, now: float) -> str | None:
        """Count a failure; gives the whole story if it is one too many, and counts no further then."""
        before = self.failures(now=now)
        if self.window > 0 and len(before) >= self.most:
            return self._story((*before, Failure(at=now, why=why)), now=now)
        self._failures = (*before, Failure(at=now, why=why))
        return None

    def reset(self) -> None:
        """Forget all: the operator has taken over."""
        self._failures = ()

    def _story(self, failures: tuple[Failure, ...], *, now: float) -> str:
        told = "; ".join(f"{_ago(now - failure.at)}: {failure.why}" for failure in failures)
        return f"failure {len(failures)} within {format_duration(self.window)}, more than max_restarts allows: {told}"


def _ago(seconds: float) -> str:
    if seconds < 1:
        return "now"
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s ago"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min ago"
    return f"{seconds / _HOUR:.0f} h ago"
