"""The registration of a node at a load balancer: its observed and desired state, the calls, and their failures."""

from dataclasses import dataclass
from enum import StrEnum


class Presence(StrEnum):
    """The state of this node at a balancer, as the balancer reports it."""

    ABSENT = "absent"
    DRAINING = "draining"
    "Deregistered: existing connections may end, and the balancer sends no new ones."
    PENDING = "pending"
    "Registered, but the balancer has not judged it yet."
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNUSED = "unused"
    "Registered, but the balancer sends it nothing whatever its health, as in a group without a listener."
    UNKNOWN = "unknown"
    "Registered, in a state that this program does not know. Nothing is changed because of it."
    UNSEEN = "unseen"
    "The node has no right to look, so it makes its changes without seeing their result."


_THERE = frozenset({Presence.PENDING, Presence.HEALTHY, Presence.UNHEALTHY, Presence.UNUSED, Presence.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look at the balancer."""

    presence: Presence
    reason: str = ""
    "The reason that the balancer gives, or other information for the operator; one line."
    former: tuple[str, ...] = ()
    "Former identities of this node that are still registered, from when it had another address."

    forgot: bool = False
    "The balancer has restarted since the last look, so what is missing was not removed by somebody."

    @property
    def is_there(self) -> bool:
        """True if this node is registered and not draining."""
        return self.presence in _THERE


class Trouble(StrEnum):
    """The kind of a call's failure, which decides when the call is tried again."""

    RETRY = "retry"
    "It may work the next time: a timeout, a reset, an answer that makes no sense, or an error of the server."
    THROTTLE = "throttle"
    "The balancer demands fewer calls."
    AUTH = "auth"
    "The credentials are missing, wrong or expired, or they do not allow the call."
    CONFIG = "config"
    "A person must change the farm file or the balancer."


class TargetError(Exception):
    """A call has failed. The text is for the operator: what the balancer said, and what to do."""

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.text = text


class DesiredState(StrEnum):
    """The state that this node wants to have at the balancer."""

    PRESENT = "registered"
    ABSENT = "absent"
    AS_IT_IS = "as it is"
    "The node changes nothing."


class Call(StrEnum):
    """A call to the balancer."""

    OBSERVE = "observe"
    REGISTER = "register"
    DEREGISTER = "deregister"
    RETIRE = "retire"
    "Deregister the former identities of this node."
