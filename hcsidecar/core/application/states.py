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
    LEAVE = "leave"
    "As stop, and it is deregistered at balancers."


class Phase(Enum):
    """Where a module stands; role, status and draining follow from it and from the checks."""

    STOPPED = auto()
    PREPARING = auto()
    "The prestart script runs."
    WAITING = auto()
    "Starts as soon as every `pre` check passes."
    STARTING = auto()
    "The start script runs."
    SERVING = auto()
    "Takes traffic as soon as, and as long as, every check passes."
    PARTING = auto()
    "Takes traffic until balancers have drained it that must do so before it answers NOT FOUND; then it leaves."
    DRAINING = auto()
    "Serves on, but asks balancers and members to send nothing new, until the operator says otherwise."
    LEAVING = auto()
    "Drains with an end in sight: the evidence that nobody is left, or the limit. The aim says what comes then."
    CLOSING = auto()
    "The stop script runs, then perhaps with `force`, then perhaps the processes are killed."
    CLEARING = auto()
    "The poststop script runs."
    FINISHED = auto()
    "The daemon may exit."


class Aim(StrEnum):
    """What a module that leaves will do next; the value is the action that scripts are told."""

    STOP = "stop"
    RESTART = "restart"
    "Stop and start the application; what is around it, the `pre` checks for one, goes on."
    STOPSTART = "stopstart"
    "Stop the whole module and start it again."
    WAIT = "stopwait"
    "Stop the application until what it needs is back."
    EXIT = "exit"
    "End the daemon. An application with scripts runs on, and the next daemon takes it over."


class Left(StrEnum):
    """What is known of an application with scripts; it outlives the daemon."""

    STOPPED = "stopped"
    STARTED = "started"
    UNCLEAR = "unclear"
    "A start or stop has begun, and nobody knows how it ended."


COMING: Final = frozenset({Phase.PREPARING, Phase.WAITING, Phase.STARTING})
"On the way to traffic."
GOING: Final = frozenset({Phase.LEAVING, Phase.CLOSING, Phase.CLEARING})
"On the way out, wherever that leads."

_AWAY: Final = frozenset({Phase.CLOSING, Phase.CLEARING, Phase.FINISHED})
MOVES: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.STOPPED: frozenset({Phase.PREPARING, Phase.SERVING, Phase.DRAINING, Phase.CLOSING, Phase.FINISHED}),
    Phase.PREPARING: frozenset({Phase.WAITING}) | _AWAY,
    Phase.WAITING: frozenset({Phase.STARTING}) | _AWAY,
    Phase.STARTING: frozenset({Phase.SERVING, Phase.DRAINING}) | _AWAY,
    Phase.SERVING: frozenset({Phase.DRAINING, Phase.PARTING, Phase.LEAVING}),
    Phase.PARTING: frozenset({Phase.SERVING, Phase.LEAVING}),
    Phase.DRAINING: frozenset({Phase.SERVING, Phase.LEAVING}),
    Phase.LEAVING: frozenset({Phase.SERVING, Phase.CLOSING, Phase.FINISHED}),
    Phase.CLOSING: frozenset({Phase.WAITING, Phase.CLEARING, Phase.FINISHED}),
    Phase.CLEARING: frozenset({Phase.STOPPED, Phase.PREPARING, Phase.FINISHED}),
    Phase.FINISHED: frozenset(),
}
"Every allowed change. Nothing goes from traffic to the end without having asked for no more traffic first."


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
