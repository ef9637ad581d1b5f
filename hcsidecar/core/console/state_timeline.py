"""In which state each node has been, and from when to when: intervals, as the events of the nodes tell them.

A node tells its own state with each event of its application. That it is dead, the other nodes tell; so a node that
only they do not hear counts as not heard, until one of them hears it again or it tells a state itself.
"""

import re
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from hcsidecar.core.console.farm_view import CHANGING, NOT_HEARD, SILENT, NodeState, state_told
from hcsidecar.core.documents import Entry

MOST_INTERVALS: Final = 500
"The intervals that are kept for one node; the oldest are left out first."
_OWN_STATE: Final = re.compile(r"(STOP|WAIT|UP)\((NotReady|Transient|Ready)\)(, draining)?: ")
_NEIGHBOUR: Final = re.compile(r"(\S+) is (?:(dead: )|(heard)$)")
_START: Final = re.compile(r"hcsidecar \S+ of farm \S+ starts")
_ENDS: Final = ("ended", "ended while it waited")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateInterval:
    """A time in which the state of a node was the same."""

    node: str
    state: NodeState
    begin: float
    "Seconds since 1970 in UTC, as in events."
    end: float | None
    "None: the state has not ended, as far as the events tell."
    reason: str
    "The message that began it."


def timeline(
    events: Iterable[Entry], *, nodes: Collection[str], since: float = 0.0
) -> Mapping[str, tuple[StateInterval, ...]]:
    """Return the intervals of each of these nodes, the oldest first: those that had not ended at `since`.

    `events` may come in any order. What was before the first event of a node is unknown, and is no interval. An
    interval may have begun before `since`.
    """
    tracks = {name: _Track(name) for name in nodes}
    for entry in sorted(events, key=lambda entry: (entry.time, entry.node, entry.number)):
        _take(entry, tracks)
    return {
        name: tuple(each for each in track.intervals if each.end is None or each.end > since)
        for name, track in tracks.items()
    }


class _Track:
    """The intervals of one node so far."""

    def __init__(self, node: str) -> None:
        self.intervals: deque[StateInterval] = deque(maxlen=MOST_INTERVALS)
        self._node = node
        self._own: tuple[NodeState, str] | None = None
        "The last state that the node has told, with the reason."

    def tells(self, state: NodeState, entry: Entry) -> None:
        """Take what the node says of itself."""
        self._own = state, entry.message
        self._change(state, entry.message, entry.time)

    def is_dead(self, entry: Entry) -> None:
        """Take that another node does not hear it."""
        # Whoever ended in order is silent as well.
        if self._own is None or self._own[0] is not SILENT:
            self._change(NOT_HEARD, entry.message, entry.time)

    def is_heard(self, entry: Entry) -> None:
        """Take that another node hears it again. If it began anew, it tells so itself."""
        if not self.intervals or self.intervals[-1].state is not NOT_HEARD:
            return
        if self._own is None:
            # It is in some state, which none of the events tells.
            self._end(entry.time)
        else:
            self._change(*self._own, entry.time)

    def _change(self, state: NodeState, reason: str, time: float) -> None:
        if self.intervals and self.intervals[-1].end is None and self.intervals[-1].state is state:
            return
        self._end(time)
        self.intervals.append(StateInterval(node=self._node, state=state, begin=time, end=None, reason=reason))

    def _end(self, time: float) -> None:
        if self.intervals and self.intervals[-1].end is None:
            self.intervals[-1] = replace(self.intervals[-1], end=time)


def _take(entry: Entry, tracks: Mapping[str, _Track]) -> None:
    own = tracks.get(entry.node)
    if entry.origin == "membership":
        match = _NEIGHBOUR.match(entry.message)
        other = tracks.get(match[1]) if match else None
        if match and other:
            (other.is_dead if match[2] else other.is_heard)(entry)
    elif own is None:
        return
    # Earlier builds stored the events of the application as those of the module.
    elif entry.origin in ("application", "module"):
        told = _OWN_STATE.match(entry.message)
        if told:
            own.tells(state_told(role=told[1], status=told[2], draining=told[3] is not None), entry)
    elif entry.origin == "daemon":
        if entry.message in _ENDS:
            own.tells(SILENT, entry)
        elif _START.fullmatch(entry.message):
            own.tells(CHANGING, entry)
