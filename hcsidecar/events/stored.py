"""Reads the stored events of a node whose daemon does not run."""

import shutil
import tempfile
from pathlib import Path

from hcsidecar.events.database import (
    BrokenDatabaseError,
    EventDatabase,
    LockedDatabaseError,
    UnusableDatabaseError,
)
from hcsidecar.events.journal import EventQuery, Found


class NothingStoredError(Exception):
    """Raised if there is nothing to read; the text says why."""


class StoredEvents:
    """A copy of a node's events. A copy, so that nothing is locked or changed: a daemon may start at any moment."""

    def __init__(self, path: Path, *, node: str) -> None:
        """Copy the file. Raise NothingStoredError if it cannot be copied."""
        self._directory = tempfile.TemporaryDirectory(prefix="hcsidecar-events-")
        try:
            copy = Path(self._directory.name) / path.name
            shutil.copyfile(path, copy)
            log = Path(f"{path}-wal")
            if log.exists():
                shutil.copyfile(log, f"{copy}-wal")
            self._database = EventDatabase(copy, node=node)
            self.last = self._database.last()
        except FileNotFoundError:
            self._directory.cleanup()
            raise NothingStoredError(f"there is no {path}") from None
        except (OSError, BrokenDatabaseError, LockedDatabaseError, UnusableDatabaseError) as error:
            self._directory.cleanup()
            why = error.strerror if isinstance(error, OSError) else error
            raise NothingStoredError(f"{path} cannot be read: {why}") from None

    def before(self, number: int | None, *, wanted: EventQuery, count: int) -> Found:
        """Return the newest events before a number (None: of all). Raise NothingStoredError if they cannot be read."""
        try:
            return self._database.before(self.last + 1 if number is None else number, wanted=wanted, limit=count)
        except (BrokenDatabaseError, UnusableDatabaseError) as error:
            raise NothingStoredError(f"the stored events cannot be read: {error}") from None

    def close(self) -> None:
        """Remove the copy."""
        self._database.close()
        self._directory.cleanup()
