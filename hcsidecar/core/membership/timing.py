"""How often nodes speak, how long silence may last, and what follows from it.

Each node has the timing of its own farm file, and tells it in its heartbeats. Between two nodes the slower of their
timings counts, by which both judge each other: so a farm goes from one preset to another node by node.
"""

from dataclasses import dataclass
from typing import Self

_MICROSECONDS = 1_000_000
"Of a second: so heartbeats tell times."


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How often nodes speak and how long silence may last, in seconds."""

    pulse: float
    lost_after: float
    "At least ten pulses: random loss of 20 % must not look like a death."

    @property
    def guard(self) -> float:
        """Wait after a death, so that the lease of one that only seems dead has run out for certain."""
        return 2 * self.pulse

    def slower(self, other: Self) -> Self:
        """Return the timing by which two nodes that have these two judge each other."""
        return type(self)(pulse=max(self.pulse, other.pulse), lost_after=max(self.lost_after, other.lost_after))

    @property
    def microseconds(self) -> tuple[int, int]:
        """Pulse and lost_after, as a heartbeat has them."""
        return round(self.pulse * _MICROSECONDS), round(self.lost_after * _MICROSECONDS)

    @classmethod
    def of_microseconds(cls, pulse: int, lost_after: int) -> Self:
        """Read what a heartbeat has."""
        return cls(pulse=pulse / _MICROSECONDS, lost_after=lost_after / _MICROSECONDS)

    def __str__(self) -> str:
        return f"pulse {self.pulse:g} s, lost_after {self.lost_after:g} s"

    @property
    def burst_pulse(self) -> float:
        """Distance of heartbeats just after a change and while a claim waits."""
        return self.pulse / 4
