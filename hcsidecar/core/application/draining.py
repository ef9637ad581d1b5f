"""Who is still there while an application drains: connections to its ports, and probers that may not know it yet.

When a drain begins, and what follows it, is in `lifecycle.py`; the operator's command in `commands.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_NO_LOOK_YET = ("a first look at connections and probers",)


@dataclass(slots=True, kw_only=True)
class Drain:
    """One drain, from the first NOT FOUND on. What was seen before that says nothing about it."""

    since: float
    "When it began, in seconds of the monotonic clock."
    waits_for: tuple[str, ...] = _NO_LOOK_YET
    "What is still there by the last evidence, in plain words; empty when nobody is."

    found_empty: bool = False
    "Nobody was left at least once; a check that looks in for a moment is no news after that."

    def see(self, *, connections: Mapping[int, int] | None, probers: Iterable[str]) -> None:
        """Take evidence.

        `connections` are counts by local port, None when they cannot be told, which never counts as nobody;
        `probers` are those that have not had their fill of NOT FOUND, in plain words.
        """
        self.waits_for = (*_still_connected(connections), *probers)
        self.found_empty = self.found_empty or not self.waits_for


def _still_connected(connections: Mapping[int, int] | None) -> list[str]:
    if connections is None:
        return ["connections, which cannot be counted here"]
    return [
        f"{count} connection{'s' if count > 1 else ''} to port {port}"
        for port, count in sorted(connections.items())
        if count
    ]
