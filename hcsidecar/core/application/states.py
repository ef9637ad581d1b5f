"""The words for what an application is doing, as SafeKit has them. `lifecycle.py` has the table of its moves."""

from enum import Enum, StrEnum, auto
from typing import Final


class Role(StrEnum):
    """What an application is there for, at this moment."""

    STOP = "STOP"
    WAIT = "WAIT"
    "Would be UP but for something outside that it needs; only applications with `wait` checks come here."
    UP = "UP"


class Status(StrEnum):
    """How far it has got in its role."""

    NOT_READY = "NotReady"
    TRANSIENT = "Transient"
    READY = "Ready"


class Word(StrEnum):
    """The operator's last word on an application. It outlives the daemon and decides what `run` does."""

    START = "start"
    STOP = "stop"
    DRAIN = "drain"
    "Remembered too: whoever took a server out by hand does not want a reboot to put it back behind their back."
    LEAVE = "leave"
    "As stop, and it is deregistered at balancers."


class Phase(Enum):
    """Where an application is on its way; role, status and draining follow from it and from the checks."""

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
    """What an application that leaves will do next; the value is the action that scripts are told."""

    STOP = "stop"
    RESTART = "restart"
    "Stop and start the application; what is around it, the `pre` checks for one, goes on."
    STOPSTART = "stopstart"
    "Stop the application and what is around it, `prestart` and `poststop` included, and start all of it again."
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


GOING: Final = frozenset({Phase.LEAVING, Phase.CLOSING, Phase.CLEARING})
"The phases on the way out, wherever that leads."
