"""The states of an application, with SafeKit's words for role and status. `lifecycle.py` has the table of moves."""

from enum import Enum, StrEnum, auto
from typing import Final


class Role(StrEnum):
    """What an application is to do."""

    STOP = "STOP"
    WAIT = "WAIT"
    "It would be UP, but a need is not met, or a script runs before the start or after the stop."
    UP = "UP"


class Status(StrEnum):
    """How far an application has got in its role."""

    NOT_READY = "NotReady"
    TRANSIENT = "Transient"
    READY = "Ready"


class Word(StrEnum):
    """The operator's last command. It is kept on disk, and a new daemon obeys it."""

    START = "start"
    STOP = "stop"
    DRAIN = "drain"
    "It is kept too, because a reboot must not bring back a server that somebody took out by hand."
    LEAVE = "leave"
    "As STOP, and the node is deregistered at its balancers."


class Phase(Enum):
    """The phase of an application's life cycle. Role, status and draining follow from it and from the checks."""

    STOPPED = auto()
    PREPARING = auto()
    "The prestart script runs."
    WAITING = auto()
    "The application starts as soon as every `pre` check passes."
    STARTING = auto()
    "The start script runs."
    SERVING = auto()
    "The application takes traffic while every check passes."
    PARTING = auto()
    "It takes traffic until the balancers that must drain it before it answers NOT FOUND have done so; then it drains."
    DRAINING = auto()
    "It serves, but asks balancers and members to send nothing new, until the operator ends the drain."
    FINAL_DRAIN = auto()
    "It drains, until nothing uses it any more or the limit is reached. The aim says what comes next."
    CLOSING = auto()
    "The stop script runs; if that is not enough, it runs with `force`, and then the processes are killed."
    CLEARING = auto()
    "The poststop script runs."
    FINISHED = auto()
    "The daemon may exit."


class Aim(StrEnum):
    """What comes after a final drain or a cancelled start. The value is the action argument of scripts."""

    STOP = "stop"
    RESTART = "restart"
    "Stop and start the application. The `pre` checks continue."
    STOPSTART = "stopstart"
    "Stop the application and its `pre` checks, and start everything again, with `poststop` and `prestart`."
    WAIT = "stopwait"
    "Stop the application until its needs are met again."
    EXIT = "exit"
    "End the daemon. An application with scripts continues to run, and the next daemon takes it over."


class Left(StrEnum):
    """What is known of an application with scripts. It is kept on disk."""

    STOPPED = "stopped"
    STARTED = "started"
    UNCLEAR = "unclear"
    "A start or stop has begun, and its result is not known."


STOPPING: Final = frozenset({Phase.FINAL_DRAIN, Phase.CLOSING, Phase.CLEARING})
"The phases from the drain to the end of the stop, whatever the aim."
