"""What membership wants done: the effects that its machine returns, to be carried out in order."""

from collections.abc import Mapping
from dataclasses import dataclass

from hcsidecar.core.events import Event, Level
from hcsidecar.core.membership.heartbeat import View
from hcsidecar.core.membership.peers import KnownPeer


@dataclass(frozen=True, slots=True)
class Adopt:
    """The view changed: close what it takes from this node, and only then go on."""

    view: View


@dataclass(frozen=True, slots=True)
class Claim:
    """What the view gives this node is proven free: open it."""


@dataclass(frozen=True, slots=True)
class Release:
    """Close everything at once."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Compose a heartbeat and send it to all other nodes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Compose a heartbeat and send it to the one who asked."""

    to: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Say something to the operator."""

    event: Event


@dataclass(frozen=True, slots=True)
class Reincarnate:
    """This boot can go on no more: discard queued datagrams, take a boot number above this one, start again."""

    reason: str
    above: int = -1


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep over a restart what is known of the other nodes, in place of all before."""

    peers: Mapping[str, KnownPeer]


Effect = Adopt | Claim | Release | Broadcast | Answer | Tell | Reincarnate | Remember


def inform(message: str) -> Tell:
    """Tell of a transition."""
    return Tell(Event(level=Level.INFO, origin="membership", message=message))


def warn(message: str) -> Tell:
    """Tell of what an operator should look at."""
    return Tell(Event(level=Level.WARNING, origin="membership", message=message))


def alarm(message: str) -> Tell:
    """Tell of what an operator must mend."""
    return Tell(Event(level=Level.ERROR, origin="membership", message=message))
