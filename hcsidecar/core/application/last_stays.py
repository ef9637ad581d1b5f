"""Decides whether a node with an unmet need leaves, when that need is unmet on all other nodes too.

A need that all nodes share, such as a router, must not take the whole farm down silently. A node whose need is unmet
goes to WAIT. If every node would do so for the same reason, the last one logs an error; with `[farm] last_stays`, the
node with the lowest name stays up instead. Each node decides by the heartbeats of the others. It first waits a moment,
so that nodes that notice the failure at the same time have heard of each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

HOLD = 1.0
"Seconds that a node waits for the heartbeats of the others before it decides, with last_stays."


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherNode:
    """Another node that is alive, by its heartbeat."""

    name: str
    serves: bool
    "UP(Ready) and not draining."
    unmet: frozenset[str]
    "The names of its `pre` checks that fail."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The state of the other nodes, as it matters to a node with unmet needs."""

    others_serve: bool
    "Another node serves, and the needs that this node lacks are met there."
    is_last: bool
    "This node has the lowest name of all nodes that serve and lack one of the same needs."


NOBODY_HEARD = Outlook(others_serve=False, is_last=True)


def look_around(me: str, unmet: Iterable[str], neighbours: Iterable[OtherNode]) -> Outlook:
    """Return the outlook of node `me` with these unmet needs."""
    mine = frozenset(unmet)
    serving = [other for other in neighbours if other.serves and other.name != me]
    alike = [other.name for other in serving if other.unmet & mine]
    return Outlook(others_serve=len(alike) < len(serving), is_last=all(me < name for name in alike))


class UnmetNeedDecision(Enum):
    """What to do about an unmet need."""

    HOLD_ON = auto()
    STAY = auto()
    LEAVE = auto()
    LEAVE_NOBODY = auto()
    "Leave, although no node serves after that."


class LastStays:
    """The decision of one node; `enabled` is [farm] last_stays."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self.outlook = NOBODY_HEARD
        "The latest outlook."
        self.hold_until = inf
        "When the decision is due, in seconds of the monotonic clock; inf if none is."
        self.stays = False

    def judge(self, *, now: float) -> UnmetNeedDecision:
        """Decide what to do about an unmet need. Call it again at `hold_until` and after each change."""
        if self.outlook.others_serve:
            return self._leave(UnmetNeedDecision.LEAVE)
        if self.stays:
            return UnmetNeedDecision.STAY
        if self._enabled and self.hold_until == inf:
            self.hold_until = now + HOLD
        if self._enabled and now < self.hold_until:
            return UnmetNeedDecision.HOLD_ON
        if self._enabled and self.outlook.is_last:
            self.stays, self.hold_until = True, inf
            return UnmetNeedDecision.STAY
        # With last_stays, another node stays, one with a lower name.
        return self._leave(UnmetNeedDecision.LEAVE if self._enabled else UnmetNeedDecision.LEAVE_NOBODY)

    def enable(self, enabled: bool) -> None:
        """Take another [farm] last_stays, for the next decision; a node that stays up goes on to do so."""
        self._enabled = enabled

    def reset(self) -> bool:
        """Forget a need that is met again or no longer matters. Return whether the node has stayed up despite it."""
        stayed, self.stays, self.hold_until = self.stays, False, inf
        return stayed

    def _leave(self, verdict: UnmetNeedDecision) -> UnmetNeedDecision:
        self.reset()
        return verdict
