"""Why something cannot be used, with what the operator can do about it."""

from typing import NamedTuple


class WhyNot(NamedTuple):
    """A problem, such as "is a symbolic link", and its remedy, such as "put what it leads to in its place"."""

    problem: str
    remedy: str
