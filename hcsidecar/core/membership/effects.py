"""The effects that the membership machine returns, to be carried out in order."""

from collections.abc import Mapping
from dataclasses import dataclass

from hcsidecar.core.events import Event, Level
from hcsidecar.core.membership.heartbeat import View
from hcsidecar.core.membership.peers import KnownPeer


@dataclass(frozen=True, slots=True)
class Adopt:
    """The view has changed: release what it takes from this node before carrying out the next effect."""

    view: View


@dataclass(frozen=True, slots=True)
class Claim:
    """What the view gives this node is proven free: take it."""


@dataclass(frozen=True, slots=True)
class Release:
    """Release every bucket at once."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Compose a heartbeat and send it to all other nodes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Compose a heartbeat and send it to the node that asked."""

    to: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Report an event to the operator."""

    event: Event


@dataclass(frozen=True, slots=True)
class Reincarnate:
    """This boot cannot go on: discard queued datagrams, take a boot number above `above`, and start again."""

    reason: str
    above: int = -1


@dataclass(frozen=True, slots=True)
class Remember:
    """Keep on disk what is known of the other nodes, in place of everything kept before."""

    peers: Mapping[str, KnownPeer]


Effect = Adopt | Claim | Release | Broadcast | Answer | Tell | Reincarnate | Remember


def inform(message: str) -> Tell:
    """Return a `Tell` at level info, for a transition."""
    return Tell(Event(level=Level.INFO, origin="membership", message=message))


def warn(message: str) -> Tell:
    """Return a `Tell` at level warning, for something that an operator should look at."""
    return Tell(Event(level=Level.WARNING, origin="membership", message=message))


def alarm(message: str) -> Tell:
    """Return a `Tell` at level error, for something that an operator must repair."""
    return Tell(Event(level=Level.ERROR, origin="membership", message=message))
