"""A history of a farm that changes its settings while it serves, before it runs; times are in T, as in all others."""

from dataclasses import dataclass

from simulation.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a revision says, apart from the names of its nodes."""

    settings: bytes = b"digest"
    "The digest of the share groups, which are in the scenario's `layouts`."
    powers: tuple[tuple[int, ...], ...]
    "Of each machine, one per port."
    partition: str = "serve"
    preset: str
    "Pulse and lost_after, which a daemon takes when it starts."


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyingScenario(Scenario):
    """All that there is to know of such a history. Its durations, other than the times of steps, are in seconds."""

    has_revision: bool = True
    "All go by one revision at first; else by their farm files."
    slow: float = 0.3
    "Obtaining, activating and saving take up to so many seconds each."
    confirm: float = 10.0
    drain: float = 0.0
    "A node that is removed drains for up to so many seconds before it goes."
    steady: bool = False
    "All nodes run all the time and reach each other: each change must be settled, unless somebody cannot take it."
    divided: bool = False
    "The farm is cut into two parts at once, never otherwise, and a majority is needed: one part serves at most."
