"""The part of the store that runs in its thread: opens the database, stores, looks up, and handles every fault.

A disk that is full, read-only or gone, or a file that another process holds, is reported once and tried again from time
to time. A broken file is moved aside, and a new one is begun. Entries that cannot be stored meanwhile wait here; those
that find no room are counted. If somebody removes, replaces or writes to the open file, this is noticed before the next
event is stored, within LOOK seconds at most.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Level
from hcsidecar.core.farmfile.tables import LogTable
from hcsidecar.core.lost_files import OVERWRITTEN, REMOVED, REPLACED, Loss, Stamp, what_became
from hcsidecar.events.database import (
    BrokenDatabaseError,
    EventDatabase,
    LockedDatabaseError,
    UnusableDatabaseError,
)
from hcsidecar.events.journal import SIZE, Found
from hcsidecar.system.private_file import make_directory, stamp

T = TypeVar("T")

NAME: Final = "events.db"
RETRY = 15.0
"Seconds until a disk or a file that failed is tried again."
LOCK_RETRY = 1.0
PATIENCE = 5.0
"Seconds for which another process may hold the file before that is reported; it is tried again every LOCK_RETRY."
LOOK = 1.0
"Seconds between two checks of the open file."
PRUNE = 60.0
"Seconds between two searches for entries that are too old."
SOON = 0.2
"Seconds between two steps of pruning."

DatabaseQuery = Callable[[EventDatabase], Found]


class StoreWorker:
    """Keeps a node's events in `events.db`; for one thread. No method raises, and all may wait for the disk."""

    def __init__(
        self,
        path: Path,
        *,
        node: str,
        table: LogTable,
        tell: Callable[[Level, str], None],
        lost: Callable[[Loss], None] = lambda _loss: None,
        size: int = SIZE,
        retry: float = RETRY,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Open nothing yet; at least `size` entries may wait.

        `tell` takes what the operator should know, `lost` what somebody did to the file.
        """
        self._path = path
        self._log_path = Path(f"{path}-wal")
        self._node = node
        self.table = table
        "What is kept; another thread may put another table here."
        self._tell = tell
        self._lost = lost
        self._size = size
        self._retry = retry
        self._wall_clock = wall_clock
        self.waiting: list[Entry] = []
        self.why_not = ""
        "What was wrong last time."
        self.told = False
        "The operator knows that events are not stored."
        self._dropped = 0
        self._database: EventDatabase | None = None
        self._left: tuple[Stamp | None, Stamp | None] = (None, None)
        "The stamps of the open file and its log when they were last written here; nobody else may write to them."
        self._what_became: str | None = None
        "What somebody did to the file, until one is open again."
        self._count = 0
        self._failing_since: float | None = None
        self._again_at = float("-inf")
        self._prune_at = float("-inf")

    def last(self) -> int:
        """Return the number of the last stored event; 0 if there is none, or it cannot be read."""
        return self._attempt(EventDatabase.last) or 0

    def add(self, entry: Entry) -> None:
        """Add an entry to those that wait for `store`."""
        self.waiting.append(entry)
        if len(self.waiting) > 2 * self._size:
            del self.waiting[: self._size]
            self._dropped += self._size

    def store(self, *, dropped: int = 0) -> bool:
        """Store the entries that wait, if possible; `dropped` is the number of those that were lost before."""
        if not self.waiting and self._failing_since is None:
            return True
        if self._attempt(self._insert) is None:
            return False
        self._count += len(self.waiting)
        self.waiting = []
        self._say_that_it_works(dropped + self._dropped)
        return True

    def ask(self, question: DatabaseQuery) -> Found | None:
        """Return the answer to a question; None if that is not possible now, and `why_not` says why."""
        return self._attempt(question)

    def look(self) -> None:
        """Begin a new file if somebody has removed or changed the open one."""
        if self._database is not None:
            self._attempt(lambda _database: None)

    def prune(self) -> None:
        """Delete one step of what is too much or too old; further steps delete the rest."""
        if self._database is None:
            return
        if self._count > self.table.most:
            self._attempt(self._drop_surplus)
        elif time.monotonic() >= self._prune_at:
            dropped = self._attempt(self._drop_older) or 0
            self._count -= dropped
            self._prune_at = time.monotonic() + (SOON if dropped else PRUNE)

    def idle_for(self) -> float:
        """Return for how many seconds there is nothing to do unless something arrives."""
        if self._count > self.table.most:
            return SOON
        due = self._prune_at if self._failing_since is None else self._again_at
        return min(max(due - time.monotonic(), SOON), LOOK)

    def close(self) -> None:
        """Store what waits, even before the next attempt is due, and close the file."""
        self._again_at = float("-inf")
        self.store()
        self._close_database()

    def _insert(self, database: EventDatabase) -> bool:
        database.insert(self.waiting)
        return True

    def _drop_surplus(self, database: EventDatabase) -> None:
        # A little more than the surplus, so that not every new event makes the database search for an old one.
        database.drop_oldest(self._count - self.table.most + self.table.most // 100)
        self._count = database.count()

    def _drop_older(self, database: EventDatabase) -> int:
        return database.drop_older(self._wall_clock() - self.table.keep)

    def _attempt(self, work: Callable[[EventDatabase], T]) -> T | None:
        """Do something with the database, opening it if necessary; return None if that is not possible now."""
        self._notice()
        if self._database is None and time.monotonic() < self._again_at:
            return None
        try:
            return self._do(work)
        except BrokenDatabaseError as error:
            self._close_database()
            reason = f"{error}, and it cannot be moved aside"
            if not self._move_aside(str(error)):
                self._fail(reason)
                return None
        except (LockedDatabaseError, UnusableDatabaseError) as error:
            self._fail(str(error), locked=isinstance(error, LockedDatabaseError))
            return None
        try:
            return self._do(work)
        except (BrokenDatabaseError, LockedDatabaseError, UnusableDatabaseError) as error:
            self._fail(str(error))
            return None

    def _do(self, work: Callable[[EventDatabase], T]) -> T:
        """Do something with the open database, and note the stamps of its files.

        Nobody may write to these files until the next time.
        """
        done = work(self._opened())
        file, log = zip(self._left, self._stamps(), strict=True)
        # If somebody has just taken a file away, its present state is not how this process left it.
        self._left = _latest(*file), _latest(*log)
        return done

    def _opened(self) -> EventDatabase:
        if self._database is None:
            with suppress(OSError):  # then it cannot be opened either
                make_directory(self._path.parent)
            self._left = (None, None)
            self._database = EventDatabase(self._path, node=self._node)
            if self._what_became is not None:
                self._database.check()
            self._count = self._database.count()
            self._say_what_became()
        return self._database

    def _notice(self) -> None:
        """Close a file that somebody has removed, replaced or written to while it was open."""
        if self._database is None:
            return
        for left, found in zip(self._left, self._stamps(), strict=True):
            what = None if left is None else what_became(left, found)
            if what is not None:
                self._what_became = what
                self._close_database()
                self._remove_log_of_another()
                return

    def _remove_log_of_another(self) -> None:
        """Remove our log if its file is gone: SQLite leaves it, and would use it for the next file."""
        file, log = self._left
        found = self._stamps()
        another = file is not None and what_became(file, found[0]) in (REMOVED, REPLACED)
        if another and log is not None and what_became(log, found[1]) is None:
            with suppress(OSError):
                self._log_path.unlink()

    def _say_what_became(self) -> None:
        what, self._what_became = self._what_became, None
        if what is not None:
            kept = self._count
            remedy = f"in order, with {kept} events" if kept else "begun anew, without the events of before"
            self._lost(Loss(path=str(self._path), what=what, remedy=remedy))

    def _stamps(self) -> tuple[Stamp | None, Stamp | None]:
        return stamp(self._path), stamp(self._log_path)

    def _fail(self, reason: str, *, locked: bool = False) -> None:
        self._close_database()
        now = time.monotonic()
        self.why_not = reason
        if self._failing_since is None:
            self._failing_since = now
        self._again_at = now + (min(LOCK_RETRY, self._retry) if locked else self._retry)
        # A process that has just ended, or that makes a copy, is soon done with the file: this is not reported.
        if not self.told and not (locked and now - self._failing_since < PATIENCE):
            self.told = True
            message = f"events are held in memory only, the last {self._size}, and not in {self._path}: {reason}"
            self._tell(Level.ERROR, message)

    def _say_that_it_works(self, dropped: int) -> None:
        if dropped:
            self._tell(Level.WARNING, f"events are stored again in {self._path}; missing there: {dropped}")
        elif self.told:
            self._tell(Level.INFO, f"events are stored again in {self._path}; none is missing there")
        self._dropped = 0
        self.told = False
        self._failing_since = None

    def _move_aside(self, reason: str) -> bool:
        """Rename a broken file for whoever wants to examine it; of several, the last is kept.

        Return whether that worked.
        """
        aside = self._path.with_name(f"{NAME}.broken-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        try:
            for old in self._path.parent.glob(f"{NAME}.broken-*"):
                old.unlink()
            self._path.rename(aside)
            for ending in ("-wal", "-journal"):
                with suppress(FileNotFoundError):
                    Path(f"{self._path}{ending}").rename(f"{aside}{ending}")
        except OSError:
            return False
        self._what_became = None  # the event above says it
        message = f"the events that were stored cannot be read: {reason}; a new file is begun, the old one is {aside}"
        self._tell(Level.WARNING, message)
        return True

    def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            database.close()


def _latest(left: Stamp | None, found: Stamp | None) -> Stamp | None:
    """Return the stamp by which a file is recognised from now on."""
    return found if left is None or what_became(left, found) in (None, OVERWRITTEN) else left
