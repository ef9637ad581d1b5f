"""The tables in force while a packet waited, for a filter that may judge late, such as the one in user space.

In flooded delivery each node judges its own copy of every packet. A node that judges late, by tables that were swapped
after the packet came, might take what the bucket's former owner has taken already. A packet that came before the latest
swap is therefore taken only if all tables in force since then take it. A client whose bucket has stayed with this node
loses nothing; a client whose bucket has just arrived is left to the former owner.
"""

from typing import Final

from l2mode.core.classify import Flow, classify
from l2mode.core.reasons import Action
from l2mode.core.tables import Tables

_CLAIM_DELAY: Final = 0.001
"""Seconds by which a claim is later than the release that it waits for, at least, since a heartbeat is sent in between.

A packet that came less than this before a swap was noticed is no older than the release.
"""
_TRIES: Final = 3
"Attempts to copy the tables before giving up: a swap takes microseconds."
_MOST: Final = 16
"Copies that are kept, 0.7 MB each; a packet that came before the first of them is dropped."


class Turns:
    """Keeps copies of the tables that another process swaps. Times are in seconds, by the clock of the packets."""

    def __init__(self, tables: Tables, *, longest_wait: float, now: float) -> None:
        self._tables = tables
        self._longest_wait = longest_wait
        self._kept: list[tuple[float, Tables]] = []
        "Each with the time at which it was noticed; the last is in force. Nothing before the first is known."
        self._turns: int | None = None
        self.look(now=now)

    def look(self, *, now: float) -> None:
        """Notice a swap. The sooner it is called, the fewer packets count as having come before the swap."""
        if self._tables.turns == self._turns:
            return
        copies = next(filter(None, (self._tables.copies() for _ in range(_TRIES))), None)
        if copies is None:
            self._kept, self._turns = [], None
            return
        missed = None if self._turns is None else (copies.turns - self._turns) % Tables.MAX_TURNS
        if missed == 1:
            self._kept.append((now, copies.after))
        elif missed == 2:  # noqa: PLR2004 - the one between is still there
            self._kept += [(now, copies.before), (now, copies.after)]
        else:
            self._kept = [(now, copies.after)]
        self._turns = copies.turns
        oldest = now - self._longest_wait - _CLAIM_DELAY
        while len(self._kept) > _MOST or (len(self._kept) > 1 and self._kept[1][0] < oldest):
            self._kept.pop(0)

    def took_since(self, came: float, frame: bytes, *, now: float) -> bool:
        """Return whether all tables since `came` have taken a frame, apart from those in force.

        The caller has asked the tables in force.
        """
        self.look(now=now)
        came += _CLAIM_DELAY
        if not self._kept or came < self._kept[0][0]:
            return False
        ends = [noticed for noticed, _ in self._kept[1:]]
        return all(_takes(frame, tables) for (_, tables), end in zip(self._kept, ends, strict=False) if came < end)


def _takes(frame: bytes, tables: Tables) -> bool:
    """Return whether these tables take a frame for which no socket is known."""

    def unknown(_flow: Flow) -> bool:
        return False

    # now_ns = -1 is before the end of any lease: the lease that matters is in force, and the caller has asked it.
    return classify(frame, tables, known=unknown, now_ns=-1).action in (Action.TAKE, Action.RESET)
