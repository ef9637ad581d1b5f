"""What a drain still waits for: connections to the application's ports, and probers that may not know of the drain.

`lifecycle.py` begins and ends drains; `commands.py` has the operator's command.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_NO_LOOK_YET = ("a first look at connections and probers",)


@dataclass(slots=True, kw_only=True)
class Drain:
    """One drain, from the first NOT FOUND on. Evidence from before that does not count."""

    since: float
    "When it began, in seconds of the monotonic clock."
    waits_for: tuple[str, ...] = _NO_LOOK_YET
    "What still uses the application, by the last evidence, as text for people; empty if nothing does."

    found_empty: bool = False
    "Nothing used the application at least once. A brief connection of a check after that is not reported."

    def see(self, *, connections: Mapping[int, int] | None, probers: Iterable[str]) -> None:
        """Take evidence.

        `connections` has counts by local port; None if they cannot be counted, which never means that there are none.
        `probers` describes the probers that have not had enough NOT FOUND answers yet.
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
