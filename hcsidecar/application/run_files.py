"""The files of script runs in a node's state directory: logs in `application`, records of keepers in `runs`."""

import contextlib
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from hcsidecar.core.application.leftover_processes import KeeperRecord, read_record
from hcsidecar.core.application.runs import logs_to_remove
from hcsidecar.core.exhaustion import explained
from hcsidecar.core.plain_text import shortened
from hcsidecar.events.journal import one_line
from hcsidecar.system.private_file import replace_file

LAST_LINES: Final = 5
"Lines of output in an event."
LONGEST_LINE: Final = 200
"Characters of such a line."
_TAIL: Final = 16384
"Bytes of a log that are read for its last lines."
_SHIM: Final = """\
#!/bin/sh
# What SafeKit modules call. Written by hcsidecar.
exec "$HCSIDECAR_PYTHON" -P -m hcsidecar.safekit.command "$@"
"""


class RunFiles:
    """Logs and records. All methods use the file system, and may block as long as that does."""

    def __init__(self, state_dir: Path) -> None:
        self.logs = state_dir / "application"
        self.records = state_dir / "runs"

    def make_directories(self) -> None:
        """Make the directories, for this user only. Raise OSError."""
        for directory in (self.logs, self.records):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def log(self, run: str) -> Path:
        """Return the path of a run's log."""
        return self.logs / f"{run}.log"

    def record(self, run: str) -> Path:
        """Return the path of the record that a run's keeper writes."""
        return self.records / f"{run}.run"

    def read_records(self) -> list[KeeperRecord]:
        """Return the records of keepers; leave out those that cannot be read.

        Raise OSError if there is no descriptor to read with, because that does not mean that there are no records.
        """
        found = []
        with _unless_exhausted():
            for path in sorted(self.records.glob("*.run")):
                with _unless_exhausted():
                    text = path.read_bytes()[:1024].decode(errors="replace")
                    if (record := read_record(path.stem, text)) is not None:
                        found.append(record)
        return found

    def tidy(self, *, keep: float, wall_clock: float, living: Collection[str], ended: Collection[str]) -> None:
        """Remove the logs that are too old or too many, and the records of runs that have ended. Raise OSError."""
        found = [(entry.name, entry.stat().st_mtime) for entry in os.scandir(self.logs)]
        for name in logs_to_remove(found, keep=keep, wall_clock=wall_clock, living=living):
            (self.logs / name).unlink(missing_ok=True)
        for run in ended:
            self.record(run).unlink(missing_ok=True)

    def last_lines(self, run: str) -> tuple[str, ...]:
        """Return the last lines of a run's output that are not empty, printable and shortened."""
        log = self.log(run)
        tail = _tail(log)
        if tail.count(b"\n") < LAST_LINES:
            tail = _tail(log.with_name(f"{log.name}.old")) + tail
        lines = [line for text in tail.decode(errors="replace").splitlines() if (line := text.rstrip())]
        return tuple(shortened(one_line(line[: LONGEST_LINE + 1]), LONGEST_LINE) for line in lines[-LAST_LINES:])


@contextlib.contextmanager
def _unless_exhausted() -> Iterator[None]:
    """Ignore an OSError, unless it is a lack of descriptors or memory."""
    try:
        yield
    except OSError as error:
        if explained(error.errno) is not None:
            raise


def write_shim(directory: Path, others: Collection[Path]) -> None:
    """Write the `safekit` command of SafeKit modules, and make the directories that they expect. Raise OSError."""
    for needed in (directory, *others):
        needed.mkdir(mode=0o700, parents=True, exist_ok=True)
    shim = directory / "safekit"
    if shim.exists() and shim.read_text() == _SHIM:
        return
    replace_file(shim, _SHIM.encode(), mode=0o755)


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read(_TAIL)
    except OSError:
        return b""
