"""What repeated attempts at a check amount to, and when the next attempt is due."""

from collections.abc import Callable, Mapping
from typing import Final

from hcsidecar.core.exit_status import how_it_ended
from hcsidecar.core.plain_text import on_one_line, shortened

UNCHECKED: Final = "not passed yet"
"The complaint of a check that has said nothing so far."

_JITTER = 0.1
"Part of the interval by which attempts wander, so that the checks of a farm do not fall into step on a shared server."
_LONGEST_REASON = 200
"Characters of what a program wrote that are taken as the reason of its failure."


class CheckFilter:
    """One check: `rise` good attempts in a row make it pass, `fall` bad ones make it fail. It begins as not passed.

    `interval` is in seconds, from the start of one attempt to that of the next; `pending_interval` is the same while a
    change is pending, and counts if it is shorter. An attempt that takes longer delays the next one, so a check never
    runs beside itself. `uniform(low, high)` draws the part by which attempts wander.
    """

    def __init__(
        self,
        *,
        rise: int,
        fall: int,
        interval: float,
        pending_interval: float,
        uniform: Callable[[float, float], float],
    ) -> None:
        self._rise = rise
        self._fall = fall
        self._interval = interval
        self._pending_interval = min(pending_interval, interval)
        self._uniform = uniform
        self._has_passed = False
        self._passing = False
        self._in_a_row = 0
        "Attempts that speak against the present verdict."
        self._latest_failure = UNCHECKED

    @property
    def complaint(self) -> str | None:
        """What is wrong, or None when the check passes."""
        if self._passing:
            return None
        if self._in_a_row and self._latest_failure != UNCHECKED:
            return f"{self._latest_failure}; {self._in_a_row} of {self._rise} good attempts since"
        return self._latest_failure

    @property
    def pending(self) -> bool:
        """True when the verdict may soon be another: not passed yet, or some attempts already speak against it."""
        return not self._has_passed or self._in_a_row > 0

    def attempted(self, failure: str | None) -> str | None:
        """Take the result of an attempt, None when it was good; gives the complaint that results."""
        self._latest_failure = failure or self._latest_failure
        if (failure is None) is self._passing:
            self._in_a_row = 0
            return self.complaint
        self._in_a_row += 1
        if self._in_a_row >= (self._fall if self._passing else self._rise):
            self._passing = not self._passing
            self._has_passed = True
            self._in_a_row = 0
        return self.complaint

    def next_attempt_at(self, *, began: float, now: float) -> float:
        """Say when to try again after an attempt that began then and is over now; the first is due at once."""
        wander = self._uniform(-_JITTER, _JITTER)
        interval = self._pending_interval if self.pending else self._interval
        return max(now, began + interval * (1 + wander))


def first_complaint(complaints: Mapping[str, str | None]) -> str | None:
    """Sum up the checks by name: a failing one before those that have yet to pass; None when all pass."""
    open_ones = [(text == UNCHECKED, name, text) for name, text in complaints.items() if text is not None]
    if not open_ones:
        return None
    _, name, text = min(open_ones, key=lambda entry: entry[0])
    more = f" (and {len(open_ones) - 1} more)" if open_ones[1:] else ""
    return f"check {name}: {text}{more}"


def last_line(output: bytes) -> str:
    """Give the last line of a program's output that says anything: on one line, printable, shortened; "" if none does.

    `output` may begin in the middle of a line.
    """
    lines = map(on_one_line, reversed(output.decode(errors="replace").splitlines()))
    return shortened(next(filter(None, lines), ""), _LONGEST_REASON)


def why_not_good(status: int, output: bytes) -> str | None:
    """Say why a program that ended so has failed; None when its exit status is 0. A signal is a negative status."""
    if status == 0:
        return None
    how = how_it_ended(status)
    line = last_line(output)
    return f"{line} ({how})" if line else how
