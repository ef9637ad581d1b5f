"""Turns repeated attempts at a check into its result, and says when the next attempt is due."""

from collections.abc import Callable, Mapping
from typing import Final

from hcsidecar.core.exit_status import how_it_ended
from hcsidecar.core.plain_text import on_one_line, shortened

UNCHECKED: Final = "not passed yet"
"The complaint of a check that has no result yet."

_JITTER = 0.1
"""The random part of each interval. It keeps the checks of all nodes from reaching a shared server at the same
moment."""
_LONGEST_REASON = 200
"The most characters of a program's output that become the reason of its failure."


class CheckDebouncer:
    """Debounces one check: it passes after `rise` successful attempts in a row, and fails after `fall` failed ones.

    At first it has not passed. `interval` is in seconds, from the start of one attempt to the start of the next. While
    a change is pending, `pending_interval` applies if it is shorter. A longer attempt delays the next one, so two
    attempts never overlap. `uniform(low, high)` draws the random part of an interval. With `patient`, the check has no
    result before `rise` or `fall` attempts in a row: one that begins while the application serves must not fail because
    of a single attempt.
    """

    def __init__(
        self,
        *,
        rise: int,
        fall: int,
        interval: float,
        pending_interval: float,
        uniform: Callable[[float, float], float],
        patient: bool = False,
    ) -> None:
        self.adjust(rise=rise, fall=fall, interval=interval, pending_interval=pending_interval)
        self._uniform = uniform
        self._has_passed = False
        self._passing = False
        self._in_a_row = 0
        "The number of attempts in a row that contradict the present result."
        self._failed_at_first = 0
        "The number of failed attempts in a row of a patient check without a result."
        self._is_decided = not patient
        self._latest_failure = UNCHECKED

    def adjust(self, *, rise: int, fall: int, interval: float, pending_interval: float) -> None:
        """Use other limits and intervals from now on; what has been found still counts."""
        self._rise = rise
        self._fall = fall
        self._interval = interval
        self._pending_interval = min(pending_interval, interval)

    @property
    def complaint(self) -> str | None:
        """What is wrong, or None if the check passes."""
        if self._passing:
            return None
        if not self._is_decided:
            return UNCHECKED
        if self._in_a_row and self._latest_failure != UNCHECKED:
            return f"{self._latest_failure}; {self._in_a_row} of {self._rise} good attempts since then"
        return self._latest_failure

    @property
    def pending(self) -> bool:
        """Whether the result may soon change: the check has not passed yet, or the last attempt contradicts it."""
        return not self._has_passed or self._in_a_row > 0

    def attempted(self, failure: str | None) -> str | None:
        """Take the failure of an attempt, None if it was successful. Return the resulting complaint of the check."""
        self._latest_failure = failure or self._latest_failure
        self._failed_at_first = 0 if failure is None else self._failed_at_first + 1
        self._is_decided = self._is_decided or self._failed_at_first >= self._fall
        if (failure is None) is self._passing:
            self._in_a_row = 0
            return self.complaint
        self._in_a_row += 1
        if self._in_a_row >= (self._fall if self._passing else self._rise):
            self._passing = not self._passing
            self._has_passed = self._is_decided = True
            self._in_a_row = 0
        return self.complaint

    def next_attempt_at(self, *, began: float, now: float) -> float:
        """Return when the next attempt is due, after one that began at `began` and has just ended."""
        jitter = self._uniform(-_JITTER, _JITTER)
        interval = self._pending_interval if self.pending else self._interval
        return max(now, began + interval * (1 + jitter))


def first_complaint(complaints: Mapping[str, str | None]) -> str | None:
    """Summarise complaints by check: a failing check before one without a result. Return None if all checks pass."""
    open_ones = [(text == UNCHECKED, name, text) for name, text in complaints.items() if text is not None]
    if not open_ones:
        return None
    _, name, text = min(open_ones, key=lambda entry: entry[0])
    more = f" (and {len(open_ones) - 1} more)" if open_ones[1:] else ""
    return f"check {name}: {text}{more}"


def last_line(output: bytes) -> str:
    """Return the last line of a program's output that is not blank, printable and shortened; "" if there is none.

    `output` may begin in the middle of a line.
    """
    lines = map(on_one_line, reversed(output.decode(errors="replace").splitlines()))
    return shortened(next(filter(None, lines), ""), _LONGEST_REASON)


def why_not_good(status: int, output: bytes) -> str | None:
    """Return why a program has failed; None if its exit status is 0. A negative status is the signal that killed it."""
    if status == 0:
        return None
    how = how_it_ended(status)
    line = last_line(output)
    return f"{line} ({how})" if line else how
