"""How long a node that has started listens before it wants a share: until nobody unheard can hold buckets any more.

A node that stands still holds its share until its lease runs out, at most its own lost_after (T) after its last
heartbeat, and who has just started may never have heard it. So a node listens for the longest T in the farm, which it
has from what the others say and from what it knew before its start; for twice that if it hears nobody, since then
nobody can tell.
"""

from hcsidecar.core.membership.timing import Timing


class Listening:
    """The listening of one boot, which began at `started_at`; once over it stays over."""

    def __init__(self, timing: Timing, *, started_at: float) -> None:
        self._slowest_told = timing
        self._started_at = started_at
        self._first_heard_at: float | None = None
        self.over = False

    def hear(self, slowest: Timing, *, now: float) -> None:
        """Take in the slowest timing that one who is heard knows of."""
        self._slowest_told = self._slowest_told.slower(slowest)
        if self._first_heard_at is None:
            self._first_heard_at = now

    def is_over(self, slowest_known: Timing, *, now: float) -> bool:
        """Say whether it is over; `slowest_known` is of this node, of those heard and those known from before."""
        if not self.over:
            self.over = now >= self._started_at + self._length(slowest_known)
        return self.over

    def _length(self, slowest_known: Timing) -> float:
        length = self._slowest_told.slower(slowest_known).lost_after
        if self._first_heard_at is None or self._first_heard_at > self._started_at + length:
            return 2 * length
        return length
