"""The journal: the latest events of this node, numbered, held in bounded memory, and followed by whoever waits.

A store behind the journal may have older events and those of the daemon's earlier lives. It is asked only for what is
not in memory; without it, or if it does not answer, the journal serves what it has.

A follower has no queue here: it keeps the number of the last entry that it has seen, and asks for what came after. A
slow follower therefore costs nothing; it is told how many entries have been overwritten. Numbers start at the
wall-clock millisecond of the daemon's start: they go on growing over a restart, so a number from before it still means
"all that is new to me".
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

import msgspec

from hcsidecar.core.documents import Entry, EventPage
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.core.plain_text import escaped, shortened

SIZE = 2000
"Entries held; with LONGEST the journal always stays under 10 MB, and usually under 1 MB."
LONGEST = 1000
"Characters of a message that are kept."
PAGE = 500
"Entries returned at once: such a page stays under 2.5 MB."

SEVERITY = {Level.DEBUG: 0, Level.INFO: 1, Level.WARNING: 2, Level.ERROR: 3}


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries somebody asks for."""

    level: Level = Level.DEBUG
    "The lowest level."
    since: float = 0.0
    "Seconds since 1970."
    until: float | None = None
    "Seconds since 1970: only what is earlier."
    text: str = ""
    "A part of `origin: message`; ASCII letters match in either case."

    def takes(self, entry: Entry) -> bool:
        """Return whether an entry is asked for."""
        return (
            SEVERITY[entry.level] >= SEVERITY[self.level]
            and entry.time >= self.since
            and (self.until is None or entry.time < self.until)
            and lower(self.text) in lower(f"{entry.origin}: {entry.message}")
        )


ALL = EventQuery()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a store has found."""

    entries: tuple[Entry, ...]
    "In the order of their numbers."
    reached: int
    "The number up to which, or back to which, it has looked; 0 if it holds nothing older."
    held: int = 0
    "The number of entries that it holds, asked for or not, of those that were to be counted."
    lacking: str = ""
    "Why it could not look."


class Store(Protocol):
    """Keeps entries beyond the journal's memory. It never blocks for long and never raises."""

    def add(self, entry: Entry) -> None:
        """Accept an entry, to be stored soon."""

    async def after(self, number: int, *, below: int, wanted: EventQuery, limit: int, count_from: int) -> Found:
        """Return the oldest entries between two numbers, both excluded; count those held above `count_from`."""

    async def before(self, number: int, *, wanted: EventQuery, limit: int) -> Found:
        """Return the newest entries before a number."""

    def reconfigure(self, table: LogTable) -> None:
        """Keep entries within the limits of this table from now on."""


class Journal:
    """The last SIZE entries, and those who wait for the next one. For one event loop; not thread-safe."""

    def __init__(
        self,
        *,
        node: str,
        log: Callable[[Entry], None],
        clock: Callable[[], float] = time.time,
        size: int = SIZE,
        store: Store | None = None,
        above: int = 0,
    ) -> None:
        """Start empty, with numbers above `above`. Every entry is also passed to `log`, which must not block."""
        self._node = node
        self._log = log
        self._clock = clock
        self._store = store
        self.counts = dict.fromkeys(Level, 0)
        "Events written since the start."
        self._entries: deque[Entry] = deque(maxlen=size)
        self._first = max(int(clock() * 1000), above + 1)
        self._last = self._first - 1
        self._news = asyncio.Event()
        self._closed = False

    @property
    def last(self) -> int:
        """The number of the newest entry."""
        return self._last

    @property
    def closed(self) -> bool:
        """True when no entry will follow."""
        return self._closed

    def reconfigure(self, table: LogTable) -> None:
        """Let the store, if there is one, keep entries within the limits of this table."""
        if self._store is not None:
            self._store.reconfigure(table)

    def write(self, event: Event) -> Entry:
        """Number an event, keep it, log it and wake the followers. Return the entry."""
        self._last += 1
        entry = Entry(
            number=self._last,
            time=self._clock(),
            node=self._node,
            level=event.level,
            origin=event.origin,
            message=one_line(event.message),
        )
        self._entries.append(entry)
        self.counts[event.level] += 1
        self._log(entry)
        if self._store is not None:
            self._store.add(entry)
        self._wake()
        return entry

    def after(self, number: int, *, wanted: EventQuery = ALL, limit: int = PAGE) -> EventPage:
        """Return the oldest entries in memory after a number; 0 means from the oldest that is held."""
        start = self._start(number)
        missed = max(0, self._oldest - start) if number > 0 else 0
        found: list[Entry] = []
        seen = self._last
        for entry in self._since(max(start, self._oldest)):
            if not wanted.takes(entry):
                continue
            if len(found) == limit:
                seen = found[-1].number
                break
            found.append(entry)
        return EventPage(node=self._node, missed=missed, next=seen, events=tuple(found))

    async def page_after(self, number: int, *, wanted: EventQuery = ALL, limit: int = PAGE) -> EventPage:
        """Return the oldest entries after a number, including the store's; 0 means from the oldest on."""
        if number > self._last:  # from a life of this daemon when its clock was ahead
            number = self._first - 1
        below, counted = self._oldest, max(number, self._first - 1)
        if self._store is None or number + 1 >= below:
            return self.after(number, wanted=wanted, limit=limit)
        found = await self._store.after(number, below=below, wanted=wanted, limit=limit, count_from=counted)
        missed = max(0, found.reached - counted - found.held) if number > 0 else 0
        rest: tuple[Entry, ...] = ()
        following = found.reached
        # If what is needed has been overwritten while the store was asked, the store is asked for that too.
        if found.reached + 1 == self._oldest and len(found.entries) < limit:
            page = self.after(found.reached, wanted=wanted, limit=limit - len(found.entries))
            rest, following = page.events, page.next
        return EventPage(
            node=self._node, missed=missed, next=following, lacking=found.lacking, events=(*found.entries, *rest)
        )

    async def page_before(self, number: int | None = None, *, count: int = PAGE, wanted: EventQuery = ALL) -> EventPage:
        """Return the newest `count` entries (at most PAGE) before a number, or of all if it is None."""
        last, count = self._last, min(count, PAGE)
        end = last + 1 if number is None else min(number, last + 1)
        found = [entry for entry in self._entries if entry.number < end and wanted.takes(entry)]
        found = found[max(0, len(found) - count) :]
        previous, lacking = found[0].number if found else end, ""
        if len(found) < count:
            previous = 0
            if self._store is not None:
                older = await self._store.before(min(end, self._oldest), wanted=wanted, limit=count - len(found))
                found, previous, lacking = [*older.entries, *found], older.reached, older.lacking
        return EventPage(node=self._node, missed=0, next=last, previous=previous, lacking=lacking, events=tuple(found))

    async def wait(self, number: int, *, limit: float) -> None:
        """Return when there is an entry after a number, the journal is closed, or `limit` seconds have passed."""
        if self._closed or self._start(number) <= self._last:
            return
        news = self._news
        try:
            async with asyncio.timeout(limit):
                await news.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """End the waiting of all followers, because the daemon is about to end."""
        self._closed = True
        self._wake()

    @property
    def _oldest(self) -> int:
        """The number of the oldest entry in memory, or of the next one."""
        return self._last + 1 - len(self._entries)

    def _start(self, number: int) -> int:
        """Return the number of the entry after a number, which may come from another life of this daemon."""
        return number + 1 if self._first <= number <= self._last else self._first

    def _since(self, number: int) -> list[Entry]:
        return list(islice(self._entries, number - self._oldest, None))

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def one_line(text: str) -> str:
    """Escape unprintable characters, so that no remote text forges a line or controls a terminal; shorten long text."""
    return shortened(escaped(text[: LONGEST + 1]), LONGEST)


def lower(text: str) -> str:
    """Return a text with its ASCII letters in lower case, as SQLite does."""
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
