"""Puts the events of all nodes in the order of time, page after page, and remembers where each node's have been left.

A page of each node is merged from the newest back, until enough is found, or until one page ends whose node has older
events: these could be newer than what the other pages still have. Where that is, is the cursor for the next page.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from hcsidecar.core.console.documents import FarmEvents
from hcsidecar.core.documents import Entry, EventPage

NOTHING_OLDER: Final = 0
_CURSOR: Final = re.compile(r"([A-Za-z0-9._-]{1,63}):([0-9]{1,16})", re.ASCII)

Cursor = Mapping[str, int]
"By node: only events before this number are wanted; NOTHING_OLDER if it has none."


class CursorError(ValueError):
    """The text is no cursor."""


def read_cursor(text: str) -> Cursor:
    """Return the cursor that a text says; an empty one says nothing of any node. Raise CursorError."""
    found = {}
    for part in text.split(",") if text else ():
        match = _CURSOR.fullmatch(part)
        if match is None:
            raise CursorError("`before` is what an earlier answer has as `before`, and nothing else")
        found[match[1]] = int(match[2])
    return found


def write_cursor(cursor: Cursor) -> str:
    """Return the text of a cursor."""
    return ",".join(f"{node}:{number}" for node, number in sorted(cursor.items()))


def merged(
    pages: Mapping[str, EventPage], *, cursor: Cursor, last: int, origin: str = "", problems: Mapping[str, str]
) -> FarmEvents:
    """Return the newest `last` events of the pages, only of this origin if one is given.

    `pages` are those of the nodes that have answered, `cursor` is where they were asked from, and `problems` says why
    other nodes have not answered: they keep their places.
    """
    left = {node: list(page.events) for node, page in pages.items()}
    places = dict(cursor)
    found: list[Entry] = []
    while len(found) < last:
        newest = max((entries[-1] for entries in left.values() if entries), key=_order, default=None)
        if newest is None:
            break
        entries = left[newest.node]
        entries.pop()
        places[newest.node] = newest.number
        if not origin or newest.origin == origin:
            found.append(newest)
        if not entries and pages[newest.node].previous:
            places[newest.node] = pages[newest.node].previous
            break
    for node, page in pages.items():
        if not left[node]:
            # A page without an event that is wanted has been passed over as a whole.
            places[node] = page.previous or NOTHING_OLDER
    older = any(places.get(node) != NOTHING_OLDER for node in (*pages, *problems))
    lacking = {node: page.lacking for node, page in pages.items() if page.lacking}
    return FarmEvents(
        events=tuple(reversed(found)),
        before=write_cursor(places) if older else "",
        problems={**lacking, **problems},
    )


def _order(entry: Entry) -> tuple[float, str, int]:
    return entry.time, entry.node, entry.number


def in_order(entries: Iterable[Entry]) -> list[Entry]:
    """Return events in the order of time."""
    return sorted(entries, key=_order)
