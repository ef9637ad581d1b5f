"""What the operator is told: one event per transition, with who and why. Cores return, the shell writes them down."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much an event matters to the person who reads the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the story."""

    level: Level
    origin: str
    "The part of the daemon that reports it, such as membership or application, or the operator or script."
    message: str
    "One sentence, without the node's name and the time, which the log adds."
