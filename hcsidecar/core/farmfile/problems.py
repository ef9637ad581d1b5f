"""A problem in a farm file, with its place and its message."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_KEY = 100
"The most characters of a key that a message shows."
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A mistake in a farm file."""

    path: str
    "Its place: `heartbeat.lost_after`, or `node[2].address`, where tables of one name are numbered from 1."
    message: str
    "The rest of the sentence that begins with the path."
    hint: str = ""
    "What would be right, or other help; may be empty."

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def path_of(location: Iterable[str | int]) -> str:
    """Return a location as keys joined by dots. An int is the index, from 0, of a table among those of one name."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part + 1}]"
        else:
            short = part[:LONGEST_KEY]
            key = short if _BARE_KEY.fullmatch(short) else json.dumps(short)
            key += "…" if len(part) > LONGEST_KEY else ""
            path += f".{key}" if path else key
    return path
