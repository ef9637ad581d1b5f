"""What a look at a balancer's own settings has found: `check-config --online` tells it."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How a point was found."""

    OK = "ok"
    UNSEEN = "unseen"
    "It could not be looked at."
    WARNING = "warning"
    "It works, and something will not go as gently as it could."
    PROBLEM = "problem"
    "It does not work like this."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFinding:
    """One point."""

    grade: Grade
    text: str
    "What is."
    effect: str = ""
    "What that does to the farm."
    remedy: str = ""
    "What mends it: a line of the farm file, or a command."
