"""Which nodes the switch has cut off: in flooded delivery every node sees every packet to the VIPs, or should.

Each node counts the packets that it sees and tells the others in its heartbeats. Over a window of some seconds, a node
that has seen under half of the median of the others is cut off: the switch does not flood to it, and the clients of
its buckets wait in vain. Where the others have seen few packets themselves, that says nothing.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

WINDOW: Final = 10.0
"Seconds over which packets are compared."
ENOUGH: Final = 100
"Packets that the others must have seen, by their median, for the comparison to say anything."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """A node has been cut off, or sees again."""

    node: str
    cut_off: bool
    seen: int
    "Packets to the VIPs that it saw in the window."
    others: int
    "The median of what the others saw."

    def __str__(self) -> str:
        counts = f"{self.seen} packets to the VIPs in {WINDOW:g} s, the others {self.others}"
        if self.cut_off:
            return f"{self.node} is cut off by the switch: it saw {counts}"
        return f"{self.node} sees the packets to the VIPs again: {counts}"


class Visibility:
    """Compares the nodes' counts of packets to the VIPs, which only grow while a node's daemon lives."""

    def __init__(self, *, window: float = WINDOW) -> None:
        self._window = window
        self._samples: dict[str, deque[tuple[float, int]]] = {}
        self.cut_off: frozenset[str] = frozenset()
        "The nodes that are cut off, by the last look."

    def look(self, counts: Mapping[str, int], *, now: float) -> list[Sight]:
        """Take the counts of this node and of those that are heard; give what has changed, each change once.

        A node that is new, or whose count has begun anew, is judged after a whole window.
        """
        self._note(counts, now)
        seen = {
            name: samples[-1][1] - samples[0][1]
            for name, samples in self._samples.items()
            if now >= samples[0][0] + self._window
        }
        changes = []
        for name, count in seen.items():
            others = int(median(rest)) if (rest := [seen[other] for other in seen if other != name]) else 0
            was = name in self.cut_off
            is_now = 2 * count < others if others >= ENOUGH else was
            if is_now != was:
                changes.append(Sight(node=name, cut_off=is_now, seen=count, others=others))
        gone = self.cut_off - self._samples.keys()
        self.cut_off = self.cut_off - gone ^ {change.node for change in changes}
        return changes

    def _note(self, counts: Mapping[str, int], now: float) -> None:
        for name in self._samples.keys() - counts.keys():
            del self._samples[name]
        for name, count in counts.items():
            samples = self._samples.setdefault(name, deque())
            if samples and count < samples[-1][1]:
                samples.clear()
            samples.append((now, count))
            # The first sample is the latest that is a whole window old.
            while len(samples) > 1 and now >= samples[1][0] + self._window:
                samples.popleft()
