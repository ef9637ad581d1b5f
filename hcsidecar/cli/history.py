"""Reads a node's events backwards, page by page, until there are enough."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hcsidecar.api.client import NodeClient
from hcsidecar.core.documents import Entry, EventPage
from hcsidecar.events.journal import PAGE, EventQuery
from hcsidecar.events.stored import StoredEvents


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryQuery:
    """Which events to show."""

    lines: int | None
    "How many of the last; None: all."
    wanted: EventQuery
    pattern: re.Pattern[str] | None = None

    def takes(self, entry: Entry) -> bool:
        """Return whether to show an event."""
        matches = self.pattern is None or self.pattern.search(f"{entry.origin}: {entry.message}") is not None
        return matches and entry.time >= self.wanted.since


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The past events of a node."""

    entries: tuple[Entry, ...]
    next: int
    "The number after which to follow."
    lacking: str
    "Why events may be missing; empty if none are."


FetchPage = Callable[[int | None, int], Awaitable[EventPage]]
"Returns the newest events before a number (None: of all), at most the given count."


async def read_history(ask: FetchPage, wish: HistoryQuery) -> History:
    """Return as many events as the query wants."""
    entries: list[Entry] = []
    page = await ask(None, _count(wish, 0))
    following = page.next
    while True:
        entries = [*(entry for entry in page.events if wish.takes(entry)), *entries]
        if page.previous == 0 or (wish.lines is not None and len(entries) >= wish.lines):
            break
        page = await ask(page.previous, _count(wish, len(entries)))
    kept = entries if wish.lines is None else entries[max(0, len(entries) - wish.lines) :]
    return History(entries=tuple(kept), next=following, lacking=page.lacking)


def _count(wish: HistoryQuery, have: int) -> int:
    return PAGE if wish.lines is None or (wish.pattern is not None and wish.lines) else min(PAGE, wish.lines - have)


def ask_through(client: NodeClient, wish: HistoryQuery) -> FetchPage:
    """Return a function that asks the node's daemon."""

    async def ask(before: int | None, count: int) -> EventPage:
        return await client.events(last=count, before=before, wanted=wish.wanted)

    return ask


def ask_stored(stored: StoredEvents, node: str, wish: HistoryQuery) -> FetchPage:
    """Return a function that reads the stored events of a node whose daemon does not run."""

    async def ask(before: int | None, count: int) -> EventPage:
        found = stored.before(before, wanted=wish.wanted, count=count)
        return EventPage(node=node, missed=0, next=stored.last, previous=found.reached, events=found.entries)

    return ask
