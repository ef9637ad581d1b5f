"""The listening of a node that has started: it wants no share until no node that it has not heard can hold buckets.

A node that stands still holds its share until its lease runs out, at most its own lost_after (T) after its last
heartbeat, and a node that has just started may never have heard it. A new node therefore listens for the longest T in
the farm, which it knows from the others' heartbeats and from before its start. If it hears nobody, it listens for twice
the longest T that it knows, since nobody can tell it of a longer one.
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
        """Note the slowest timing that a heard node knows of."""
        self._slowest_told = self._slowest_told.slower(slowest)
        if self._first_heard_at is None:
            self._first_heard_at = now

    def is_over(self, slowest_known: Timing, *, now: float) -> bool:
        """Return whether the node has listened long enough.

        `slowest_known` is the slowest timing of this node, of the nodes heard, and of those known from before.
        """
        if not self.over:
            self.over = now >= self._started_at + self._length(slowest_known)
        return self.over

    def _length(self, slowest_known: Timing) -> float:
        length = self._slowest_told.slower(slowest_known).lost_after
        if self._first_heard_at is None or self._first_heard_at > self._started_at + length:
            return 2 * length
        return length
