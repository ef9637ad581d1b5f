"""The database of a node's events: one table in one SQLite file, for one thread of one process.

It uses a write-ahead log, so that a commit is one write at the end of a file and a kill at any moment leaves what was
committed. The file is locked for as long as it is open. SQLite then needs no shared memory, which a full or failing
disk would turn into a signal that kills the daemon.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from hcsidecar.core.documents import Entry
from hcsidecar.events.journal import SEVERITY, EventQuery, Found, lower, one_line

VERSION: Final = 1
"The version of the table below."
APPLICATION: Final = 0x68637365
"Marks the file as ours; see PRAGMA application_id of SQLite."
SCAN = 20_000
"Entries examined for one question: about 20 ms."
STEP = 1000
"Entries deleted at once: about 5 ms."
BUSY = 0.1
"Seconds to wait for another process's lock, before a later attempt."

_SCHEMA = (
    "CREATE TABLE event (number INTEGER PRIMARY KEY, time REAL NOT NULL, level INTEGER NOT NULL, "
    "origin TEXT NOT NULL, message TEXT NOT NULL)"
)
_PROBE = "SELECT number, time, level, origin, message FROM event LIMIT 0"
_INSERT = "INSERT OR REPLACE INTO event (number, time, level, origin, message) VALUES (?, ?, ?, ?, ?)"
_DROP_OLDEST = "DELETE FROM event WHERE number IN (SELECT number FROM event ORDER BY number LIMIT ?)"
_DROP_OLDER = (
    "DELETE FROM event WHERE number IN "
    "(SELECT number FROM (SELECT number, time FROM event ORDER BY number LIMIT ?) WHERE time < ?)"
)
_AFTER = (
    "SELECT * FROM (SELECT number, time, level, origin, message FROM event WHERE number > ? AND number < ? "
    "ORDER BY number LIMIT ?) WHERE level >= ? AND time >= ? AND time < ? "
    "AND instr(lower(origin || ': ' || message), ?) > 0 ORDER BY number LIMIT ?"
)
_AFTER_END = "SELECT number FROM event WHERE number > ? AND number < ? ORDER BY number LIMIT 1 OFFSET ?"
_BEFORE = (
    "SELECT * FROM (SELECT number, time, level, origin, message FROM event WHERE number < ? "
    "ORDER BY number DESC LIMIT ?) WHERE level >= ? AND time >= ? AND time < ? "
    "AND instr(lower(origin || ': ' || message), ?) > 0 ORDER BY number DESC LIMIT ?"
)
_BEFORE_END = "SELECT number FROM event WHERE number < ? ORDER BY number DESC LIMIT 1 OFFSET ?"
_HELD = "SELECT count(*) FROM event WHERE number > ? AND number <= ?"
_LEVELS = {severity: level for level, severity in SEVERITY.items()}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT}
_BROKEN |= {sqlite3.SQLITE_ERROR}
"Primary result codes of a file that waiting does not repair; SQLITE_ERROR: a table or column is missing."
_LOCKED = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PRAGMAS = (
    "locking_mode = EXCLUSIVE",
    "journal_mode = WAL",
    "synchronous = FULL",
    "wal_autocheckpoint = 256",
    "journal_size_limit = 1048576",
    "cache_size = -256",
    "mmap_size = 0",
    "trusted_schema = OFF",
)


class BrokenDatabaseError(Exception):
    """The file is damaged, or not one that this version can read; the text says what is wrong with it."""


class LockedDatabaseError(Exception):
    """Another process holds the file."""


class UnusableDatabaseError(Exception):
    """The disk or the system refuses, which may change; the text says why."""


class EventDatabase:
    """An open file of events. Every method may raise one of the three errors above; the file must then be closed."""

    def __init__(self, path: Path, *, node: str) -> None:
        """Open the file, or create it."""
        self._node = node
        self._connection: sqlite3.Connection | None = None
        try:
            with _in_our_words():
                # Created here, since SQLite would let everybody read it.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                self._connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
                self._set_up(self._connection)
        except BaseException:
            self.close()
            raise

    def last(self) -> int:
        """Return the highest number; 0 if there is no entry."""
        return self._number("SELECT coalesce(max(number), 0) FROM event")

    def count(self) -> int:
        """Return the number of entries: about 10 ms for 100,000."""
        return self._number("SELECT count(*) FROM event")

    def check(self) -> None:
        """Check the whole file: about 10 ms for each MB. Raise BrokenDatabaseError if it is damaged."""
        if self._rows("PRAGMA quick_check(1)", ())[0][0] != "ok":
            raise BrokenDatabaseError("database disk image is malformed")

    def insert(self, entries: Iterable[Entry]) -> None:
        """Store entries, all or none; they are on the disk on return."""
        rows = [(each.number, each.time, SEVERITY[each.level], each.origin, each.message) for each in entries]
        with self._transaction() as connection:
            # A number is used twice only if a clock was set back and the file could not be read at the start.
            connection.executemany(_INSERT, rows)

    def drop_oldest(self, count: int) -> None:
        """Delete the `count` oldest entries, at most STEP."""
        with self._transaction() as connection:
            connection.execute(_DROP_OLDEST, (min(count, STEP),))

    def drop_older(self, moment: float) -> int:
        """Delete entries older than `moment` (seconds since 1970) among the STEP oldest. Return how many were."""
        with self._transaction() as connection:
            return connection.execute(_DROP_OLDER, (STEP, moment)).rowcount

    def after(self, number: int, *, below: int, wanted: EventQuery, limit: int, count_from: int) -> Found:
        """See `Store.after`; examines SCAN entries at most."""
        entries = self._entries(_AFTER, (number, below, SCAN, *_values(wanted), limit))
        reached = below - 1
        if len(entries) == limit:
            reached = entries[-1].number
        elif scanned := self._rows(_AFTER_END, (number, below, SCAN - 1)):
            reached = scanned[0][0]
        return Found(entries=tuple(entries), reached=reached, held=self._rows(_HELD, (count_from, reached))[0][0])

    def before(self, number: int, *, wanted: EventQuery, limit: int) -> Found:
        """See `Store.before`; examines SCAN entries at most."""
        entries = self._entries(_BEFORE, (number, SCAN, *_values(wanted), limit))
        reached = 0
        if len(entries) == limit:
            reached = entries[-1].number
        elif scanned := self._rows(_BEFORE_END, (number, SCAN - 1)):
            reached = scanned[0][0]
        return Found(entries=tuple(reversed(entries)), reached=reached)

    def close(self) -> None:
        """Close the file; safe to repeat."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _set_up(self, connection: sqlite3.Connection) -> None:
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}").fetchall()
        application, version = (self._number(f"PRAGMA {name}") for name in ("application_id", "user_version"))
        if application == version == self._number("SELECT count(*) FROM sqlite_master") == 0:
            with self._transaction():
                connection.execute(_SCHEMA)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
        elif application != APPLICATION:
            raise BrokenDatabaseError("it is a database of something else")
        elif version != VERSION:
            raise BrokenDatabaseError(f"its form is number {version}, and this version of hcsidecar knows {VERSION}")
        connection.execute(_PROBE)

    def _entries(self, query: str, values: tuple[Any, ...]) -> list[Entry]:
        return [self._entry(*row) for row in self._rows(query, values)]

    def _entry(self, number: int, time: Any, level: Any, origin: Any, message: Any) -> Entry:
        if not (level in _LEVELS and isinstance(time, float) and isinstance(origin, str) and isinstance(message, str)):
            raise BrokenDatabaseError(f"its entry {number} is no event")
        return Entry(
            number=number, time=time, node=self._node, level=_LEVELS[level], origin=origin, message=one_line(message)
        )

    def _number(self, query: str) -> int:
        return int(self._rows(query, ())[0][0])

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with _in_our_words():
            return self._open.execute(query, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        # Nothing is rolled back after an error: whoever gets it closes the file, which has the same effect.
        with _in_our_words():
            self._open.execute("BEGIN IMMEDIATE")
            yield self._open
            self._open.execute("COMMIT")

    @property
    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise UnusableDatabaseError("it is closed")
        return self._connection


def _values(wanted: EventQuery) -> tuple[int, float, float, str]:
    until = float("inf") if wanted.until is None else wanted.until
    return SEVERITY[wanted.level], wanted.since, until, lower(wanted.text)


@contextmanager
def _in_our_words() -> Iterator[None]:
    """Turn SQLite's errors into the three above, which say whether waiting may help."""
    try:
        yield
    except sqlite3.Error as error:
        primary = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if primary in _BROKEN:
            raise BrokenDatabaseError(str(error)) from error
        if primary in _LOCKED:
            raise LockedDatabaseError("another process holds it") from error
        raise UnusableDatabaseError(str(error)) from error
    except (OSError, OverflowError) as error:
        raise UnusableDatabaseError(getattr(error, "strerror", None) or str(error)) from error
