"""The words for what a module is doing, as SafeKit has them, and which change may follow which."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

from hcsidecar.core.events import Event


class Role(StrEnum):
    """What a module is there for, at this moment."""

    STOP = "STOP"
    WAIT = "WAIT"
    "Would be UP but for something outside that it needs; only modules with `wait` checks come here."
    UP = "UP"


class Status(StrEnum):
    """How far it has got in its role."""

    NOT_READY = "NotReady"
    TRANSIENT = "Transient"
    READY = "Ready"


class Word(StrEnum):
    """The operator's last word on a module. It outlives the daemon and decides what `run` does."""

    START = "start"
    STOP = "stop"
    DRAIN = "drain"
    "Remembered too: whoever took a server out by hand does not want a reboot to put it back behind their back."


class Phase(Enum):
    """Where a module stands between two commands; role, status and draining follow from it and from the checks."""

    STOPPED = auto()
    SERVING = auto()
    "Takes traffic as soon as, and as long as, every check passes."
    DRAINING = auto()
    "Serves on, but asks balancers and members to send nothing new, until the operator says otherwise."
    STOPPING = auto()
    "Drains with an end in sight: the evidence that nobody is left, or the limit. Stays stopped then."
    RESTARTING = auto()
    "The same, to start again."
    EXITING = auto()
    "The same, for the daemon to end; no command but `stop` counts any more."
    FINISHED = auto()
    "Stopped for good: the daemon may exit."


ENDING: Final = frozenset({Phase.STOPPING, Phase.RESTARTING, Phase.EXITING})
"Drains on the way to STOP."

MOVES: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.STOPPED: frozenset({Phase.SERVING, Phase.DRAINING, Phase.FINISHED}),
    Phase.SERVING: frozenset({Phase.DRAINING}) | ENDING,
    Phase.DRAINING: frozenset({Phase.SERVING}) | ENDING,
    Phase.STOPPING: frozenset({Phase.STOPPED, Phase.SERVING, Phase.RESTARTING, Phase.EXITING}),
    Phase.RESTARTING: frozenset({Phase.STOPPED, Phase.STOPPING, Phase.EXITING}),
    Phase.EXITING: frozenset({Phase.FINISHED}),
    Phase.FINISHED: frozenset(),
}
"Every allowed change. Nothing goes from traffic to STOP without having asked for no more traffic first."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a command: accepted, with the events that it caused, or refused, which changes nothing."""

    accepted: bool
    text: str
    "One sentence for who gave the command: what happens now, or why not."
    events: tuple[Event, ...] = ()


def accept(text: str, *events: Event) -> Outcome:
    """Take a command; without events, all was already as it asks."""
    return Outcome(accepted=True, text=text, events=events)


def refuse(reason: str) -> Outcome:
    """Turn a command down."""
    return Outcome(accepted=False, text=reason)
