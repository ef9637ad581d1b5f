"""A journal with its store on the disk, as the daemon runs it, and ways to read it."""

import contextlib
import time

from waiting import until

from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.events.journal import EventQuery, Journal
from hcsidecar.events.store import EventStore
from hcsidecar.events.store_worker import NAME

TABLE = LogTable()


def event(message, level=Level.INFO):
    return Event(level=level, origin="application", message=message)


def entry(number, *, at=1000.0, message="", level=Level.INFO):
    return Entry(number=number, time=at, node="web1", level=level, origin="application", message=message or str(number))


def messages(page):
    return [each.message for each in page.events]


@contextlib.asynccontextmanager
async def life(directory, *, clock=time.time, size=2000, above=None, **more):
    """Run a journal with its store, as the daemon does; gives the journal."""
    told = []
    table = more.pop("table", TABLE)
    store = EventStore(
        directory / NAME, node="web1", table=table, tell=told.append, size=size, wall_clock=lambda: 0.0, **more
    )
    last = await store.last()
    journal = Journal(
        node="web1", log=lambda entry: None, clock=clock, size=size, store=store, above=last if above is None else above
    )
    journal.store, journal.told = store, told
    try:
        yield journal
    finally:
        journal.unsaved = await store.close()


async def backwards(journal, *, count=500, **wanted):
    """Read page by page, the newest first; gives the messages, the oldest first."""
    number, found = None, []
    while number != 0:
        page = await journal.page_before(number, count=count, wanted=EventQuery(**wanted))
        found, number = messages(page) + found, page.previous
    return found


async def stored(journal, _count):
    """Wait until what has been written is on the disk: an answer comes after it."""
    await journal.store.before(1, wanted=EventQuery(), limit=1)
    await until(lambda: journal.store._busy_since is None, what="the end of what follows an answer")
