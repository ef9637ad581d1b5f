"""The words for a node's place at a load balancer: what is seen of it, what is asked for, and what goes wrong."""

from dataclasses import dataclass
from enum import StrEnum


class Presence(StrEnum):
    """What a balancer says of this node as its target."""

    ABSENT = "absent"
    DRAINING = "draining"
    "Deregistered: what goes on may end, nothing new comes."
    PENDING = "pending"
    "Registered, and the balancer has not made up its mind yet."
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNUSED = "unused"
    "Registered, and the balancer sends it nothing whatever its health: a group without a listener, say."
    UNKNOWN = "unknown"
    "Registered, in a state that cannot be read: nothing is changed on such grounds."
    UNSEEN = "unseen"
    "There is no right to look: what is asked for is asked for blindly."


_THERE = frozenset({Presence.PENDING, Presence.HEALTHY, Presence.UNHEALTHY, Presence.UNUSED, Presence.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at the balancer."""

    presence: Presence
    reason: str = ""
    "The balancer's own words, or what the operator should know; one line."
    former: tuple[str, ...] = ()
    "Earlier identities of this very node that are still registered: it had another address then."

    forgot: bool = False
    "The balancer has begun anew since the last look: what is missing there nobody has undone."

    @property
    def is_there(self) -> bool:
        """True when this node is registered and not on its way out."""
        return self.presence in _THERE


class Trouble(StrEnum):
    """What kind of failure a call has met; it decides when the next one is tried."""

    RETRY = "retry"
    "It may work the next time: a time-out, a reset, an answer that makes no sense, an error of the server's."
    THROTTLE = "throttle"
    "The balancer wants fewer calls."
    AUTH = "auth"
    "No credentials, wrong ones, expired ones, or not the right to do this."
    CONFIG = "config"
    "The farm file or the balancer must be changed by a person."


class TargetError(Exception):
    """A call that has failed. The text is for the operator: what the balancer said, and what to do about it."""

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.text = text


class DesiredState(StrEnum):
    """What this node wants to be at the balancer."""

    PRESENT = "registered"
    ABSENT = "absent"
    AS_IT_IS = "as it is"
    "Nothing is changed."


class Call(StrEnum):
    """A call to the balancer."""

    OBSERVE = "observe"
    REGISTER = "register"
    DEREGISTER = "deregister"
    RETIRE = "retire"
    "Deregister the earlier identities of this node."
