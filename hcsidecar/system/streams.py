"""The standard streams of a command: any text can be written, and a failure to write is reported in one line.

Python raises an error for a character that the terminal's encoding lacks, for an invalid byte in an argument, for a
full disk and for a reader that is gone. The first two are written as escapes here. The other two end the command as
they end other programs: with a line on standard error and status 1 or, for a pipe that nobody reads any more, with
SIGPIPE.
"""

import errno
import io
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_FAILED = 1
"Exit status."


class OutputError(Exception):
    """Standard output takes no more. This is not an OSError: libraries and commands give those other meanings."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output cannot be written: {error.strerror}")
        self.errno = error.errno


class _Sink(io.FileIO):
    """The file descriptor of a stream; drops whatever is written after the first failure.

    Unless `quiet`, it raises the first failure.
    """

    def __init__(self, descriptor: int, *, quiet: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._quiet = quiet
        self._failed = False

    def write(self, data) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001 - whatever has bytes
        """Write some of the data. Return how many bytes."""
        while not self._failed:
            try:
                written: int | None = super().write(data)
            except OSError as error:
                self._failed = True
                if not self._quiet:
                    raise OutputError(error) from error
            else:
                if written is not None:
                    return written
                # Somebody who shares our terminal or pipe has made it non-blocking.
                select.select([], [self.fileno()], [])
        return memoryview(data).nbytes


@contextmanager
def standard_streams() -> Iterator[None]:
    """Set up the streams of this process for a command, and end the process if its output cannot be written."""
    sys.stdout, sys.stderr = _stream(1, sys.stdout, quiet=False), _stream(2, sys.stderr, quiet=True)
    failures: list[Exception] = []
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except* OutputError as group:  # a command that does several things at once raises it in a group
        failures += group.exceptions
    if failures:
        _give_up(failures[0])


def _give_up(failure: Exception) -> None:
    if isinstance(failure, ExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, OutputError) and failure.errno == errno.EPIPE and hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    sys.stderr.write(f"{failure}\n")
    raise SystemExit(_FAILED)


def _stream(descriptor: int, found: TextIO | None, *, quiet: bool) -> TextIO:
    """Return a new stream on its descriptor; a closed one is opened on /dev/null, before a socket gets its number."""
    if found is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
        return open(descriptor, "w", encoding="utf-8", closefd=False)
    if isinstance(found, io.TextIOWrapper) and os.name == "nt":
        # The console of Windows takes characters, not bytes of ours.
        found.reconfigure(errors="backslashreplace")
        return found
    sink = _Sink(found.fileno(), quiet=quiet)
    return io.TextIOWrapper(
        io.BufferedWriter(sink),
        encoding=found.encoding,
        errors="backslashreplace",
        line_buffering=quiet or sink.isatty(),
    )
