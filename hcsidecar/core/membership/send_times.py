"""When each of the latest sequences was sent, which determines what an acknowledgement proves."""

from bisect import bisect_right
from math import inf
from typing import Final

_MOST: Final = 4096
"Entries kept: at the closest distance of an eighth of a pulse, more than fifty times lost_after."


class SendTimes:
    """The times of the latest sequences, in seconds of the monotonic clock.

    Of answers that follow each other closely only the first is kept, since there may be thousands a second. A sequence
    that is not kept has the time of the latest kept one before it, which is earlier. `distance` is the least time
    between two kept answers.
    """

    def __init__(self, *, distance: float) -> None:
        self._distance = distance
        self._seqs: list[int] = []
        self._times: list[float] = []

    def add(self, seq: int, *, now: float, to_all: bool) -> None:
        """Note that a sequence is sent now; it must be higher than all before."""
        if not to_all and self._times and now < self._times[-1] + self._distance:
            return
        self._seqs.append(seq)
        self._times.append(now)
        if len(self._seqs) > _MOST:
            del self._seqs[: _MOST // 2], self._times[: _MOST // 2]

    def sent_at(self, seq: int) -> float:
        """Return a time no later than that at which a sequence was sent; minus infinity if that was long ago."""
        index = bisect_right(self._seqs, seq) - 1
        return self._times[index] if index >= 0 else -inf
