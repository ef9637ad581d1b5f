"""A history of settings before it runs: the farm, its network, and what befalls it; times are in seconds."""

from dataclasses import dataclass, field

from simulation.network import Weather
from simulation.scenario import Step

PULSE = 0.5
LOST_AFTER = 2.5
"Seconds of silence after which a node is no longer heard."
LISTENS = 3.0
"Seconds for which a node that starts listens."
QUIET = 130.0
"Seconds of peace at the end: a promise, a trial, a retry and a lineage that nobody tells may have to run out."


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All that there is to know of a history before it runs."""

    kind: str
    seed: int
    size: int
    steps: tuple[Step, ...]
    until: float
    spare: int = 0
    "So many nodes, the last ones, are in no revision at first."
    has_revision: bool = True
    "All go by one revision at first; else by their farm files."
    weather: Weather = field(default_factory=lambda: Weather(delay=0.005, jitter=0.01))
    drift: float = 0.0
    "Clocks run up to this part fast or slow."
    slow: float = 0.3
    "Obtaining, activating and saving take up to so many seconds each."
    confirm: float = 10.0
    drain: float = 0.0
    "A node that is removed drains for up to so many seconds before it goes."
    forgives_sleep: bool = True
    "A node that wakes does not count its sleep as the silence of others."
    peaceful: bool = False
    "Nothing fails, and one change comes after the other: each must be settled."
    steady: bool = False
    "All nodes run all the time and reach each other, though datagrams may be lost."
