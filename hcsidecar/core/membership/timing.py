"""The timing of heartbeats: how often nodes send, how long silence may last, and what follows from that.

Each node has the timing of its own farm file and announces it in its heartbeats. Two nodes judge each other by the
slower of their two timings, so a farm can change from one preset to another node by node.
"""

from dataclasses import dataclass
from typing import Self

_MICROSECONDS = 1_000_000
"Microseconds in a second; heartbeats give times in microseconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How often nodes send and how long silence may last, in seconds."""

    pulse: float
    lost_after: float
    "At least ten pulses: random loss of 20 % must not look like a death."

    @property
    def guard(self) -> float:
        """The wait after a death, by which the lease of a node that only seems dead has certainly run out."""
        return 2 * self.pulse

    def slower(self, other: Self) -> Self:
        """Return the timing by which two nodes with these timings judge each other."""
        return type(self)(pulse=max(self.pulse, other.pulse), lost_after=max(self.lost_after, other.lost_after))

    @property
    def microseconds(self) -> tuple[int, int]:
        """Pulse and lost_after, as in a heartbeat."""
        return round(self.pulse * _MICROSECONDS), round(self.lost_after * _MICROSECONDS)

    @classmethod
    def of_microseconds(cls, pulse: int, lost_after: int) -> Self:
        """Return the timing that a heartbeat announces."""
        return cls(pulse=pulse / _MICROSECONDS, lost_after=lost_after / _MICROSECONDS)

    def __str__(self) -> str:
        return f"pulse {self.pulse:g} s, lost_after {self.lost_after:g} s"

    @property
    def burst_pulse(self) -> float:
        """Seconds between heartbeats just after a change and while a claim waits."""
        return self.pulse / 4
