"""Which nodes the switch has cut off: in flooded delivery every node should see every packet to the VIPs.

Each node counts the packets that it sees, and announces the count in its heartbeats, with the time of its own clock at
which the count was taken. A count that arrives late is an old count, and an old count is smaller: taken for a present
one, it would suggest that its node is blind. The counts are therefore first put on one time scale. No count is heard
before it is taken. So the least difference over the window between the time of hearing and the time of taking is the
difference of the two clocks plus, at most, what the quickest heartbeat took. If these differences vary by more than
`TIMING`, the node or this one stood still; the node is then neither judged nor compared with until that is out of the
window.

A node is cut off if in all of the window it has seen under half of what the others, by their lower median, saw in the
part of the window that is certain to lie within it. If the others' counts are old, that part is small or empty. So a
node that sees what the others see is never cut off, whatever the delays. And since a part is no more than the whole, no
more than half of the nodes can ever be cut off. With two nodes it is one's word against the other's, so more evidence
is required. Where few packets arrive there is no evidence, and a verdict that has had none for a while is withdrawn.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from statistics import median_low
from typing import Final

WINDOW: Final = 15.0
"Seconds over which packets are compared."
TIMING: Final = 2.0
"Seconds by which the time of a count may be wrong: counters are read once a second, and heartbeats have a pulse."
ENOUGH: Final = 100
"Packets that the others must have seen, by their lower median, before the comparison says anything."
HALF: Final = 2
OF_TWO: Final = 10
"Of two nodes, one is cut off if it saw under a tenth of what the other saw."
FORGOTTEN_AFTER: Final = 60.0
"Seconds without evidence until a verdict is withdrawn."


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenPackets:
    """The number of packets that a node says it has seen."""

    packets: int
    "Packets to the VIPs; the number only grows while the node's daemon lives."
    at: float
    "When it was taken, in seconds of the node's own monotonic clock."


class VisibilityChange(Enum):
    """What has become known of a node."""

    CUT_OFF = "it is cut off"
    SEES_AGAIN = "it was cut off, and sees as much as the others"
    UNKNOWN = "it was cut off, and nothing is known of it any more"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeVisibility:
    """A change in what is known of a node."""

    node: str
    change: VisibilityChange
    seen: int = 0
    "Packets to the VIPs that it saw in the window."
    others: int = 0
    "The lower median of what the others saw meanwhile."

    def __str__(self) -> str:
        counts = f"{self.seen} packets to the VIPs in {WINDOW:g} s, the others {self.others}"
        match self.change:
            case VisibilityChange.CUT_OFF:
                return f"{self.node} is cut off by the switch: it saw {counts}"
            case VisibilityChange.SEES_AGAIN:
                return f"{self.node} sees the packets to the VIPs again: {counts}"
            case _:
                return f"{self.node} is no longer known to be cut off: too little to compare for {FORGOTTEN_AFTER:g} s"


class Visibility:
    """Compares the nodes' counts of packets to the VIPs, and remembers which nodes are cut off."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self._evidence: dict[str, float] = {}
        "For each node that is cut off, when there was last evidence of it."

    @property
    def cut_off(self) -> frozenset[str]:
        """The nodes that are cut off, as of the last look."""
        return frozenset(self._evidence)

    def look(self, counts: Mapping[str, SeenPackets], *, now: float) -> list[NodeVisibility]:
        """Take in the counts of this node and of the nodes that it hears. Return the changes, each once.

        A node that is new, or whose count has started again, is judged after a whole window.
        """
        self._note(counts, now)
        sound = {name: series for name, series in self._series.items() if series.is_sound}
        changes = []
        for name, series in sound.items():
            begin, end = series.first_taken + TIMING, series.last_taken - TIMING
            others = [other.seen_within(begin, end) for each, other in sound.items() if each != name]
            change = self._judge(name, series, others, now)
            if change is not None:
                changes.append(change)
        for name in [name for name, last in self._evidence.items() if now >= last + FORGOTTEN_AFTER]:
            del self._evidence[name]
            changes.append(NodeVisibility(node=name, change=VisibilityChange.UNKNOWN))
        return changes

    def _judge(self, name: str, series: "_Series", others: Iterable[int], now: float) -> NodeVisibility | None:
        rest = sorted(others)
        usual, seen = median_low(rest) if rest else 0, series.seen
        if usual < ENOUGH or not series.is_whole:
            return None
        was = name in self._evidence
        if seen * (OF_TWO if len(rest) == 1 else HALF) < usual:
            self._evidence[name] = now
            return None if was else NodeVisibility(node=name, change=VisibilityChange.CUT_OFF, seen=seen, others=usual)
        if was and seen * HALF >= usual:
            del self._evidence[name]
            return NodeVisibility(node=name, change=VisibilityChange.SEES_AGAIN, seen=seen, others=usual)
        return None

    def _note(self, counts: Mapping[str, SeenPackets], now: float) -> None:
        for name in self._series.keys() - counts.keys():
            del self._series[name]
            # There is nothing to say about a node that is gone.
            self._evidence.pop(name, None)
        for name, count in counts.items():
            self._series.setdefault(name, _Series()).note(count, now)


class _Series:
    """The counts of one node over the window, oldest first, with the times at which they were heard."""

    def __init__(self) -> None:
        self._counts: deque[tuple[SeenPackets, float]] = deque()
        self._ahead = 0.0
        "How far the hearing node's clock is ahead of the counting node's, at most."

    def note(self, count: SeenPackets, now: float) -> None:
        if self._counts:
            last, _ = self._counts[-1]
            if count == last:
                return
            if count.packets < last.packets or count.at <= last.at:
                self._counts.clear()
        self._counts.append((count, now))
        # The first count kept is the latest that is a whole window older than the last.
        while len(self._counts) > 1 and count.at >= self._counts[1][0].at + WINDOW:
            self._counts.popleft()
        self._ahead = min(heard - each.at for each, heard in self._counts)

    @property
    def seen(self) -> int:
        return self._counts[-1][0].packets - self._counts[0][0].packets

    @property
    def is_whole(self) -> bool:
        return self._counts[-1][0].at >= self._counts[0][0].at + WINDOW

    @property
    def is_sound(self) -> bool:
        """Return whether its times are known well enough to be compared."""
        delays = [heard - count.at for count, heard in self._counts]
        return max(delays) - min(delays) <= TIMING

    @property
    def first_taken(self) -> float:
        return self._taken(self._counts[0][0])

    @property
    def last_taken(self) -> float:
        return self._taken(self._counts[-1][0])

    def seen_within(self, begin: float, end: float) -> int:
        """Return how many packets, at least, this node saw between two times of the hearing node's clock."""
        inside = [count.packets for count, _ in self._counts if begin <= self._taken(count) <= end]
        return inside[-1] - inside[0] if inside else 0

    def _taken(self, count: SeenPackets) -> float:
        """Return when a count was taken, by the hearing node's clock."""
        return count.at + self._ahead
