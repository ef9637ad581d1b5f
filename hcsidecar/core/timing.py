"""How often nodes speak, how long silence may last, and what follows from it."""

from dataclasses import dataclass


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

    @property
    def burst_pulse(self) -> float:
        """Distance of heartbeats just after a change and while a claim waits."""
        return self.pulse / 4
