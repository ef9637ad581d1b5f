"""The output of the log: where it goes, and the form of a line, for a person, for journald, or as JSON for a program.

Writing never blocks the daemon: lines go through a bounded queue to a thread of their own. A terminal stopped with
Ctrl-S, or a pipe that nobody reads, costs lines and not heartbeats. Lost lines are counted, and the count is written
once there is room.
"""

import contextlib
import logging
import os
import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum

import msgspec
from aiohttp.http_exceptions import HttpProcessingError

from hcsidecar.core.documents import Entry, LogLine
from hcsidecar.core.events import Level
from hcsidecar.core.terminals import takes_colours
from hcsidecar.events.journal import one_line
from hcsidecar.system.threads import start_thread

QUEUED = 1000
"Lines that may wait for a slow reader; further ones are dropped and counted."

NUMBERS = {
    Level.DEBUG: logging.DEBUG,
    Level.INFO: logging.INFO,
    Level.WARNING: logging.WARNING,
    Level.ERROR: logging.ERROR,
}
PRIORITIES = {Level.DEBUG: 7, Level.INFO: 6, Level.WARNING: 4, Level.ERROR: 3}
"As in syslog(3) and sd-daemon(3)."
COLOURS = {Level.DEBUG: "2", Level.INFO: "32", Level.WARNING: "33", Level.ERROR: "1;31"}
"Parameters of the ANSI sequence that sets the colour."


_log = logging.getLogger("hcsidecar")


class Style(Enum):
    """The form of a line."""

    TERMINAL = "time of day, colours"
    PLAIN_TERMINAL = "time of day"
    FILE = "date and time in UTC"
    JOURNAL = "syslog priority, and no time: journald knows it"
    JSON = "one object a line"


def choose_style(*, as_json: bool, fd: int, environment: dict[str, str]) -> Style:
    """Return the style for a file descriptor; systemd.exec(5) documents JOURNAL_STREAM."""
    if as_json:
        return Style.JSON
    if os.isatty(fd):
        return Style.TERMINAL if takes_colours(environment) else Style.PLAIN_TERMINAL
    status = os.fstat(fd)
    if environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
        return Style.JOURNAL
    return Style.FILE


def render(style: Style, *, level: Level, node: str, origin: str, message: str, at: float) -> str:
    """Return a line without its end; `at` is the wall clock in seconds."""
    moment = datetime.fromtimestamp(at, UTC)
    match style:
        case Style.TERMINAL | Style.PLAIN_TERMINAL:
            local = moment.astimezone()
            shown = f"\x1b[{COLOURS[level]}m{level:<7}\x1b[0m" if style is Style.TERMINAL else f"{level:<7}"
            return f"{local:%H:%M:%S}.{local.microsecond // 1000:03} {node} {shown} {origin}: {message}"
        case Style.FILE:
            return f"{_iso(moment)} {node} {level:<7} {origin}: {message}"
        case Style.JOURNAL:
            return f"<{PRIORITIES[level]}>{node} {origin}: {message}"
        case Style.JSON:
            line = LogLine(time=_iso(moment), node=node, level=level, origin=origin, message=message)
            return msgspec.json.encode(line).decode()


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


class LineWriter:
    """A thread that writes lines to a file descriptor, with a queue before it that never blocks the writer."""

    def __init__(self, fd: int, *, lost: Callable[[int], str], size: int = QUEUED) -> None:
        """Start the thread; `lost` returns the line that says how many were dropped. Raise NoThreadError if refused."""
        self._fd = fd
        self._lost = lost
        self._lines: queue.Queue[str | None] = queue.Queue(size)
        self._dropped = 0
        self._counting = threading.Lock()
        # A daemon thread, and os.write instead of sys.stderr: a reader that hangs must not keep the process from
        # ending, and the interpreter ends badly while such a thread holds the lock of a buffered stream.
        self._thread = start_thread(self._run, name="log")

    def line(self, text: str) -> None:
        """Queue a line, or count it as lost."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            with self._counting:
                self._dropped += 1

    def close(self, *, limit: float = 1.0) -> None:
        """Write the lines that wait, for at most `limit` seconds; safe to repeat."""
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=limit)
        self._thread.join(limit)

    def _run(self) -> None:
        text: str | None = ""
        while text is not None:
            text = self._lines.get()
            if text is not None:
                self._write(text)
            if self._dropped and self._lines.empty():
                with self._counting:
                    dropped, self._dropped = self._dropped, 0
                self._write(self._lost(dropped))

    def _write(self, text: str) -> None:
        rest = (text + "\n").encode("utf-8", "backslashreplace")
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # somebody who shares our terminal has made it non-blocking
                select.select([], [self._fd], [])
            except OSError:  # the reader is gone for good: there is nobody to tell
                return


class _EntryRecord(logging.LogRecord):
    """An entry of the journal as a record of the standard library's logging."""

    def __init__(self, entry: Entry) -> None:
        super().__init__(_log.name, NUMBERS[entry.level], "", 0, entry.message, None, None)
        self.entry = entry


class _Lines(logging.Handler):
    """Writes one line for each record: for our entries, and for the records of libraries, with their tracebacks."""

    def __init__(self, writer: LineWriter, style: Style, node: str) -> None:
        super().__init__()
        self._writer = writer
        self._style = style
        self._node = node

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one line."""
        if isinstance(record, _EntryRecord):
            entry = record.entry
            self._write(entry.level, entry.node, entry.origin, entry.message, entry.time)
            return
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            return  # garbage from the network is not worth a line, and must not fill the log
        text = logging.Formatter().format(record)
        level = Level.ERROR if record.levelno >= logging.ERROR else Level.WARNING
        # A traceback has many lines; as one line it stays together in every style, and what it quotes forges nothing.
        message = " | ".join(one_line(line) for line in text.splitlines())
        self._write(level, self._node, record.name, message, record.created)

    def _write(self, level: Level, node: str, origin: str, message: str, at: float) -> None:
        self._writer.line(render(self._style, level=level, node=node, origin=origin, message=message, at=at))


def configure(*, node: str, as_json: bool = False, level: Level = Level.INFO, fd: int | None = None) -> LineWriter:
    """Set up this process's logging. Return the writer, which must be closed at the end of the process.

    Call this before the process takes real-time priority, which applies to the threads that exist then.
    """
    target = sys.stderr.fileno() if fd is None else fd
    style = choose_style(as_json=as_json, fd=target, environment=dict(os.environ))

    def lost(count: int) -> str:
        message = f"lines are missing here, because nobody read the log: {count}"
        return render(style, level=Level.WARNING, node=node, origin="log", message=message, at=time.time())

    writer = LineWriter(target, lost=lost)
    logging.basicConfig(handlers=[_Lines(writer, style, node)], level=logging.WARNING, force=True)
    _log.setLevel(NUMBERS[level])
    return writer


def log_entry(entry: Entry) -> None:
    """Write an entry of the journal to the log."""
    if _log.isEnabledFor(NUMBERS[entry.level]):
        _log.handle(_EntryRecord(entry))
