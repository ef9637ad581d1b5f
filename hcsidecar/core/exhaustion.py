"""What a machine has no more of: threads and processes, descriptors, memory; by the system's error number, in words."""

import errno
from collections.abc import Mapping
from typing import Final

from hcsidecar.core.events import Event, Level

NO_MORE: Final[Mapping[int, str]] = {
    errno.EAGAIN: "the limit of processes and threads is reached (TasksMax= of the unit, ulimit -u)",
    errno.EMFILE: "too many open files (LimitNOFILE= of the unit, ulimit -n)",
    errno.ENFILE: "too many open files on this machine (sysctl fs.file-max)",
    errno.ENOMEM: "this machine has no memory left",
    errno.ENOBUFS: "the kernel has no buffer left",
}
"What the system means when something cannot be started or opened; where EAGAIN says `wait` this is not for it."
QUIET: Final = 60.0
"Seconds without a new shortage after which one is over; a limit that is met again and again is told once."


def explained(number: int | None) -> str | None:
    """Return what the system has run out of, and what limits it; None for every other error."""
    return None if number is None else NO_MORE.get(number)


class Shortage:
    """That connections cannot be accepted now and then: told when it begins and when it is over."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._met = 0

    def met(self, why: str, *, now: float) -> Event | None:
        """Count that it was met, and say so if that is news."""
        begins = self._met == 0
        self._met += 1
        self._last = now
        if not begins:
            return None
        message = f"{why}: connections that have been silent longest are closed for new ones"
        return Event(level=Level.WARNING, origin="daemon", message=message)

    def look(self, *, now: float) -> Event | None:
        """Say that it is over, once it is."""
        if self._met == 0 or now < self._last + QUIET:
            return None
        times, self._met = self._met, 0
        over = f"new connections find room again; {times} times they found none"
        return Event(level=Level.INFO, origin="daemon", message=over)
