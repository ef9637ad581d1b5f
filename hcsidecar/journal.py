"""The journal: the last events of this node, numbered, held in bounded memory, and waited for by who follows them.

A follower keeps no queue here: it holds the number of the last entry that it has seen and asks for what came after.
So a slow follower costs nothing; what has been overwritten meanwhile it is told as a count.
Numbers start at the wall-clock millisecond of the daemon's start: they go on growing over a restart, and a number
from before it still means "all that is new to me".
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from itertools import islice

import msgspec

from hcsidecar.core.events import Event, Level

SIZE = 2000
"Entries held; with LONGEST the journal stays under 10 MB whatever happens, and usually under 1 MB."
LONGEST = 1000
"Characters of a message that are kept."
PAGE = 500
"Entries handed out at once: such a page stays under 2.5 MB."

SEVERITY = {Level.DEBUG: 0, Level.INFO: 1, Level.WARNING: 2, Level.ERROR: 3}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """An event with its place in the journal."""

    number: int
    time: float
    "Wall clock, seconds since 1970 in UTC: for people, never for decisions."
    node: str
    level: Level
    origin: str
    message: str


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """What came after a number."""

    node: str
    missed: int
    "Entries after that number which are no longer held."
    next: int
    "The number to ask with next; it passes over entries that the level leaves out."
    events: tuple[Entry, ...]


class Journal:
    """The last SIZE entries and whoever waits for the next one. For one event loop; not thread-safe."""

    def __init__(
        self,
        *,
        node: str,
        log: Callable[[Entry], None],
        clock: Callable[[], float] = time.time,
        size: int = SIZE,
    ) -> None:
        """Start empty; every entry is also handed to `log`, which must not block."""
        self._node = node
        self._log = log
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=size)
        self._first = int(clock() * 1000)
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

    def write(self, event: Event) -> Entry:
        """Number an event, keep it, log it and wake the followers."""
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
        self._log(entry)
        self._wake()
        return entry

    def after(self, number: int, *, level: Level = Level.DEBUG, limit: int = PAGE) -> Page:
        """Give the oldest entries after a number, at least of a level; 0 means from the oldest that is held."""
        start = self._start(number)
        oldest = self._last + 1 - len(self._entries)
        missed = max(0, oldest - start) if number > 0 else 0
        found: list[Entry] = []
        seen = self._last
        for entry in self._since(max(start, oldest)):
            if SEVERITY[entry.level] < SEVERITY[level]:
                continue
            if len(found) == limit:
                seen = found[-1].number
                break
            found.append(entry)
        return Page(node=self._node, missed=missed, next=seen, events=tuple(found))

    def tail(self, count: int, *, level: Level = Level.DEBUG) -> Page:
        """Give the newest `count` entries (at most PAGE) of at least a level."""
        count = min(count, PAGE)
        found: deque[Entry] = deque(maxlen=count)
        found.extend(e for e in self._entries if SEVERITY[e.level] >= SEVERITY[level])
        return Page(node=self._node, missed=0, next=self._last, events=tuple(found))

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
        """End the waiting of all followers; the daemon is about to go."""
        self._closed = True
        self._wake()

    def _start(self, number: int) -> int:
        """Say which entry comes next after a number, which may stem from another life of this daemon."""
        return number + 1 if self._first <= number <= self._last else self._first

    def _since(self, number: int) -> list[Entry]:
        oldest = self._last + 1 - len(self._entries)
        return list(islice(self._entries, number - oldest, None))

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def one_line(text: str) -> str:
    """Escape what is not printable, so that no text from afar forges a line or steers a terminal; cut what is long."""
    printable = "".join(c if c.isprintable() else _escaped(c) for c in text[: LONGEST + 1])
    return printable if len(printable) <= LONGEST else printable[: LONGEST - 1] + "…"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
