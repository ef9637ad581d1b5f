"""A need that all nodes share, a router say, must not take the whole farm down silently.

A node whose need is unmet leaves for WAIT. When every node would, for the same reason, it says so loudly; and with
`[farm] last_stays` the one with the lowest name stays up instead. Each decides by what it hears of the others, and
holds on for a moment first, so that those who notice at the same time have heard of each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from math import inf

HOLD = 1.0
"Seconds to listen to the others, where the last one stays."


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherNode:
    """Another node that is alive, as its heartbeat says."""

    name: str
    serves: bool
    "UP(Ready) and not draining."
    unmet: frozenset[str]
    "Names of its `pre` checks that fail."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """How the others are, for a node with unmet needs."""

    others_serve: bool
    "One serves that lacks nothing of what this one lacks."
    is_last: bool
    "Of all that serve and lack the same, this one has the lowest name."


NOBODY_HEARD = Outlook(others_serve=False, is_last=True)


def look_around(me: str, unmet: Iterable[str], neighbours: Iterable[OtherNode]) -> Outlook:
    """Say how the others are."""
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
    "Leave, though nobody is left then."


class LastStays:
    """The decision of one node; `enabled` is [farm] last_stays."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self.outlook = NOBODY_HEARD
        "What was seen last."
        self.hold_until = inf
        "When it is to be decided, in seconds of the monotonic clock."
        self.stays = False

    def judge(self, *, now: float) -> UnmetNeedDecision:
        """Decide on an unmet need; to be asked again at `hold_until`, and whenever something has changed."""
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
        # Where the last one stays, it is another, of a lower name.
        return self._leave(UnmetNeedDecision.LEAVE if self._enabled else UnmetNeedDecision.LEAVE_NOBODY)

    def reset(self) -> bool:
        """Forget the need, which is met again or no longer matters; True if the node had stayed up for it."""
        stayed, self.stays, self.hold_until = self.stays, False, inf
        return stayed

    def _leave(self, verdict: UnmetNeedDecision) -> UnmetNeedDecision:
        self.reset()
        return verdict
