"""What is wrong with a farm file, in words for the person who wrote it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

LONGEST_KEY = 100
"Characters of a key that are told."
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One mistake, and where it is."""

    path: str
    "Place in the file's own words: `heartbeat.lost_after`; tables of one name are counted from 1: `node[2].address`."
    message: str
    "Completes the sentence that the path begins."
    hint: str = ""
    "What would be right, or the like; may be empty."

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def path_of(location: Iterable[str | int]) -> str:
    """Write a place as keys joined by dots; an int is the index, from 0, of a table among those of one name."""
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
