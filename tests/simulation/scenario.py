"""A history before it runs: the farm, its weather, and what befalls it, in units of T (lost_after)."""

from dataclasses import dataclass, field

from simulation.network import Weather

PRESETS = {"lan": (0.05, 0.5), "fast": (0.02, 0.2), "wan": (1.0, 10.0)}
"Pulse and lost_after in seconds."

QUIET = 9.0
"T of peace at the end, after which all must agree: death, guard, twice the patience with newcomers, and some more."


@dataclass(frozen=True, slots=True)
class Limit:
    """The longest time that a bucket may be without a taker while one member moves: the sum of both."""

    of_t: float = 0.0
    of_delay: float = 0.0
    "Multiples of the longest delay of a datagram."


PLANNED = Limit(of_delay=3.5)
"Nothing is lost: a question and its answer, and what is under way."

LAST_TO_LET_GO = Limit(of_delay=2.05)
"Of who is drained: the others know the view already, and some may still wait for each other's answers."

DEATH = Limit(of_t=1.4, of_delay=2.0)
"T to notice it, the guard, and two pulses more."

RESTART = Limit(of_delay=3.0)
"The first word of the new boot, before which the old filter was closed; then a question and its answer."

ARRIVAL = Limit(of_t=0.105, of_delay=3.5)
"Several join at once: members propose newcomers each half a pulse, and so does the one who has joined."

A_FEW = 2
"Views with more than one member, for each node of a farm that starts at once: the first ones are of two or three."

RESHAPED = Limit(of_delay=60.0)
"Nodes go by other settings one after the other, and each makes buckets move; some moves may follow each other at once."

NO_MOVE = Limit()
"Nothing that anybody holds moves."

LOST_WORDS = Limit(of_t=0.03, of_delay=3.5)
"Who is drained says it each quarter of a pulse."

LOSSY_FAREWELL = Limit(of_t=0.7)
"Some of the last words are lost: still far less than a death."

DEATH_SEEN_BY_A_SLEEPER = Limit(of_t=4.0)
"Who is awake for half of the time only may take twice as long to notice."


@dataclass(frozen=True, slots=True)
class Step:
    """Something that befalls the farm: the method of the world, called with these arguments."""

    at: float
    what: str
    args: tuple = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All that there is to know of a history before it runs."""

    kind: str
    seed: int
    preset: str
    "The slowest of the farm: all times are in units of its T."
    presets: tuple[str, ...] = ()
    "Of each machine; () if all have the same."
    size: int
    steps: tuple[Step, ...]
    until: float
    weather: Weather = field(default_factory=Weather)
    powers: tuple[tuple[int, ...], ...]
    "Of each machine, one per share group."
    drift: float = 0.0
    "Clocks run up to this part fast or slow."
    doubled: int | None = None
    "The machine under whose name another one runs as well: its number is the last, and it hears what that one hears."
    lateness: float = 0.0
    "Timers fire up to so many P late."
    labour: float = 0.0
    "Closing, sending and the like take up to so many P each, looks at the sockets 20 times that."
    partition: str = "serve"
    delivery: str = "flooded"
    connections: int = 0
    "How many connections clients keep open."
    strays: float = 0.0
    "Part of the packets that a router sends to some machine that is not the director."
    layouts: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    """By digest of the settings: the ports that have a share group, in the order of the groups, as places in `powers`;
    () if the settings differ in nothing that concerns the groups."""
    joining: tuple[int, ...] = ()
    "Machines that are in no farm file at first."
    recorded: bool = False
    "Somebody records the datagrams and plays them again."
    peaceful: bool = False
    "Moves are planned and nothing is lost, so that the connections of machines that stay lose no packet."
