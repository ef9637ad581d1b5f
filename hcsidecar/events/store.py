"""The store behind the journal: a thread that writes events to the disk in batches and reads them back when asked.

Nobody waits for it. Entries go through a bounded queue. If the queue is full because the disk stands still, further
entries are dropped and counted. Whatever happens to the disk, the journal goes on in memory.
"""

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.core.lost_files import Loss
from hcsidecar.events.journal import SIZE, EventQuery, Found, Journal
from hcsidecar.events.store_worker import NAME, RETRY, DatabaseQuery, StoreWorker
from hcsidecar.system.threads import start_thread

T = TypeVar("T")

GATHER = 0.2
"Seconds for which entries are gathered into one commit: what a kill may cost, together with the time of the commit."
STUCK = 10.0
"Seconds after which it is reported that the disk does not answer."
READ_LIMIT = 2.0
"Seconds that an answer may take."
QUESTIONS = 16
"Questions that may wait for an answer."
START_LIMIT = 0.5
"Seconds for which the start of the daemon waits for the number of the last event."
END_LIMIT = 2.0
"Seconds for which the end of the daemon waits for the disk."
NO_ANSWER = "the disk does not answer"


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A question, and who waits for the answer."""

    question: DatabaseQuery
    answer: "asyncio.Future[Found | None]"


class EventStore:
    """Satisfies `events.journal.Store`. Create it in a running loop, on which it calls `tell` and `lost`; close it."""

    def __init__(
        self,
        path: Path,
        *,
        node: str,
        table: LogTable,
        tell: Callable[[Event], object],
        lost: Callable[[Loss], None] = lambda _loss: None,
        size: int = SIZE,
        retry: float = RETRY,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Start the thread. Raise NoThreadError if none can be started.

        `size` is the journal's, whose memory has the entries that are still on their way to the disk.
        """
        self._path = path
        self._size = size
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._last: asyncio.Future[int] = self._loop.create_future()
        self._ended: asyncio.Future[str] = self._loop.create_future()
        self._inbox: queue.SimpleQueue[Entry | _Asked | None] = queue.SimpleQueue()
        self._waiting_questions = 0
        self._dropped = 0
        "The entries that the loop has dropped since the start; the thread keeps how many of them it has reported."
        self._busy_since: float | None = None
        self._worker = StoreWorker(
            path,
            node=node,
            table=table,
            tell=self._tell_from_thread,
            lost=lambda loss: self._on_loop(lost, loss),
            size=size,
            retry=retry,
            wall_clock=wall_clock,
        )
        # A daemon thread: a disk that hangs must not keep the process from ending.
        start_thread(self._run, name="events")

    async def last(self) -> int:
        """Return the number of the last stored event; 0 if there is none, or the disk is too slow."""
        with suppress(TimeoutError):
            async with asyncio.timeout(START_LIMIT):
                return await asyncio.shield(self._last)
        return 0

    def add(self, entry: Entry) -> None:
        """Queue an entry, or count it as dropped."""
        if self._inbox.qsize() < self._size:
            self._inbox.put(entry)
        else:
            self._dropped += 1
        busy = self._busy_since
        if busy is not None and not self._worker.told and time.monotonic() - busy > STUCK:
            self._worker.told = True
            message = f"events are held in memory only: {NO_ANSWER}, of {self._path}"
            self._loop.call_soon(self._tell, Event(level=Level.ERROR, origin="log", message=message))

    async def after(self, number: int, *, below: int, wanted: EventQuery, limit: int, count_from: int) -> Found:
        """Return the oldest entries between two numbers, both excluded."""
        return await self._look_up(
            lambda database: database.after(number, below=below, wanted=wanted, limit=limit, count_from=count_from),
            reached=below - 1,
        )

    async def before(self, number: int, *, wanted: EventQuery, limit: int) -> Found:
        """Return the newest entries before a number."""
        return await self._look_up(lambda database: database.before(number, wanted=wanted, limit=limit), reached=0)

    def reconfigure(self, table: LogTable) -> None:
        """Keep entries within these limits; the thread finds them when it prunes next."""
        self._worker.table = table

    async def close(self) -> str | None:
        """Store what waits, for END_LIMIT seconds at most. Return why that was not possible, or None."""
        self._inbox.put(None)
        try:
            async with asyncio.timeout(END_LIMIT):
                return await asyncio.shield(self._ended) or None
        except TimeoutError:
            return NO_ANSWER

    async def _look_up(self, question: DatabaseQuery, *, reached: int) -> Found:
        why, found = NO_ANSWER, None
        if self._waiting_questions < QUESTIONS:
            self._waiting_questions += 1
            asked = _Asked(question, self._loop.create_future())
            self._inbox.put(asked)
            with suppress(TimeoutError):
                async with asyncio.timeout(READ_LIMIT):
                    found = await asked.answer
                    why = self._worker.why_not
        lacking = f"older events cannot be read from {self._path}: {why}"
        return found or Found(entries=(), reached=reached, lacking=lacking)

    # -- in the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        worker = self._worker
        self._busy_since = time.monotonic()
        self._on_loop(_settle, self._last, worker.last())
        told_dropped = 0
        going_on = True
        while going_on:
            self._busy_since = None
            going_on, asked = self._gather()
            self._busy_since = time.monotonic()
            worker.look()
            dropped = self._dropped
            if worker.store(dropped=dropped - told_dropped):
                told_dropped = dropped
            if asked is not None:
                found = None if asked.answer.cancelled() else worker.ask(asked.question)
                self._on_loop(self._answer, asked, found)
            worker.prune()
        worker.close()
        self._on_loop(_settle, self._ended, f"{self._path}: {worker.why_not}" if worker.waiting else "")

    def _gather(self) -> tuple[bool, _Asked | None]:
        """Take in entries until it is time to store them, a question arrives, or the end (False)."""
        worker = self._worker
        end = time.monotonic() + (worker.idle_for() if self._inbox.empty() else GATHER)
        gathering = False
        while (left := end - time.monotonic()) > 0:
            try:
                item = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            match item:
                case None:
                    return False, None
                case _Asked():
                    return True, item
            worker.add(item)
            if not gathering:
                end, gathering = time.monotonic() + GATHER, True
        return True, None

    def _tell_from_thread(self, level: Level, message: str) -> None:
        self._on_loop(self._tell, Event(level=level, origin="log", message=message))

    def _on_loop(self, what: Callable[..., object], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop has ended, and whoever listened with it
            self._loop.call_soon_threadsafe(what, *arguments)

    def _answer(self, asked: _Asked, found: Found | None) -> None:
        self._waiting_questions -= 1
        _settle(asked.answer, found)


def _settle(future: "asyncio.Future[T]", value: T) -> None:
    if not future.done():
        future.set_result(value)


@asynccontextmanager
async def kept_journal(
    directory: Path,
    table: LogTable,
    *,
    node: str,
    log: Callable[[Entry], None],
    lost: Callable[[Loss], None] = lambda _loss: None,
) -> AsyncIterator[Journal]:
    """Yield a journal whose events are kept in a directory, which must exist; what is left is stored at the end.

    `lost` takes what somebody does to the file meanwhile. The start waits START_LIMIT at most for the disk, the end
    END_LIMIT; nothing waits in between.
    """
    early: list[Event] = []
    journal: Journal | None = None

    def tell(event: Event) -> None:
        if journal is None:
            early.append(event)
        else:
            journal.write(event)

    store = EventStore(directory / NAME, node=node, table=table, tell=tell, lost=lost)
    journal = Journal(node=node, log=log, store=store, above=await store.last())
    for event in early:
        journal.write(event)
    try:
        yield journal
    finally:
        reason = await store.close()
        if reason is not None:
            message = f"the last events are not stored: {reason}"
            journal.write(Event(level=Level.WARNING, origin="log", message=message))
