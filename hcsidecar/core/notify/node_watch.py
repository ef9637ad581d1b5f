"""Finds the changes of nodes that operators are told: new states of the application, and who is dead, gone or back."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from hcsidecar.core.events import Level


class Hearing(StrEnum):
    """What a node hears of another one."""

    HEARD = "heard"
    "The two hear each other."
    SILENT = "silent"
    LEFT = "left"
    "It has said that it leaves."


class NodeChange(StrEnum):
    """A change of a node that every other node may notice."""

    DEAD = "dead"
    LEFT = "left"
    HEARD = "heard"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticedChange:
    """A change of a node."""

    node: str
    level: Level
    text: str
    change: NodeChange | None
    "None for the application's state, which only its own node tells."


_OF_HEARING: Mapping[tuple[Hearing, Hearing], tuple[NodeChange, Level, str]] = {
    (Hearing.HEARD, Hearing.SILENT): (NodeChange.DEAD, Level.ERROR, "is dead: its heartbeats are not heard any more"),
    (Hearing.HEARD, Hearing.LEFT): (NodeChange.LEFT, Level.INFO, "has left the farm"),
    (Hearing.SILENT, Hearing.LEFT): (NodeChange.LEFT, Level.INFO, "has left the farm"),
    (Hearing.SILENT, Hearing.HEARD): (NodeChange.HEARD, Level.INFO, "is heard again"),
    (Hearing.LEFT, Hearing.HEARD): (NodeChange.HEARD, Level.INFO, "is heard again"),
}


class NodeWatch:
    """Compares what a node hears of the others, and its own state, with what was before.

    Nothing is told of a node that was not heard yet, nor of the first state of the application.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self._hearing: dict[str, Hearing] = {}
        self._state = ""
        self._transient = False

    def see_others(self, hearing: Mapping[str, Hearing]) -> list[NoticedChange]:
        """Take what is heard of each other node of the farm."""
        found = []
        for node, now in hearing.items():
            before = self._hearing.get(node)
            if before is None and now is not Hearing.HEARD:
                continue
            self._hearing[node] = now
            if before is not None and (change := _OF_HEARING.get((before, now))) is not None:
                found.append(NoticedChange(node=node, change=change[0], level=change[1], text=change[2]))
        for node in self._hearing.keys() - hearing.keys():
            del self._hearing[node]
        return found

    def see_own(self, *, state: str, is_transient: bool, is_ready: bool, reason: str) -> list[NoticedChange]:
        """Take the state of this node's application, such as UP(Ready). A state on the way to another is not told."""
        before, is_first = self._state, not self._state
        if is_transient:
            # Back in the same state, it has been through something.
            self._transient = self._transient or not is_first
            return []
        if state == before and not self._transient:
            return []
        self._state, self._transient = state, False
        if is_first:
            return []
        level = Level.INFO if is_ready else Level.WARNING
        text = f"is {state}: {reason}" if reason else f"is {state}"
        return [NoticedChange(node=self._me, change=None, level=level, text=text)]
