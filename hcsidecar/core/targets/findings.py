"""The findings on the settings of a balancer, which `check-config --online` shows."""

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How serious a finding is."""

    OK = "ok"
    UNSEEN = "unseen"
    "This setting could not be read."
    WARNING = "warning"
    "It works, but some requests may fail that need not fail."
    PROBLEM = "problem"
    "It does not work with this setting."


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFinding:
    """One finding."""

    grade: Grade
    text: str
    "The fact."
    effect: str = ""
    "Its effect on the farm."
    remedy: str = ""
    "What to do: a line of the farm file, or a command."
