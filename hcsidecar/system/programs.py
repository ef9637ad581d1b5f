"""Runs a program of the operator's for a check or a target, in a process group of its own that is killed as a whole.

A thread starts it, because the thread that starts a process is blocked until the new process has begun.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from hcsidecar.core.exhaustion import explained
from hcsidecar.system.threads import NoThreadError, start_thread

_ROOM: Final = 65536
_LONGEST_FIRST_LINE: Final = 256
"Bytes of a program's first line that the kernel reads for the interpreter (execve(2))."
_KEPT: Final = 4096
"Bytes that are kept of the end of the output."
_STARTING: Final = threading.Lock()
_LONGEST_TURN: Final = 0.05
"In seconds."


class CannotStartError(Exception):
    """A program cannot be started; the text says why, and what to do.

    `passing` is True if it is not the program's fault: the machine has run out of something.
    """

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramCommand:
    """The command to run.

    The program's path is relative to `directory`, in which it runs; `environment` is its whole environment.
    """

    words: Sequence[str]
    directory: Path
    environment: Mapping[str, str]
    question: bytes | None = None
    "Its standard input, shorter than a pipe holds; its standard error is then kept apart from its answer."

    @property
    def program(self) -> Path:
        """The path of the program."""
        return self.directory / self.words[0]


class _Tail:
    """A pipe that keeps the end of what is written into it; `inner` is the writer's descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._outer, self.inner = os.pipe()
        self.kept = b""
        try:
            os.set_blocking(self._outer, False)
            loop.add_reader(self._outer, self._read)
        except OSError:
            os.close(self._outer)
            os.close(self.inner)
            raise

    def read_what_came(self) -> None:
        """Read what has been written so far: no more than a pipe holds, since somebody may still write into it."""
        for _ in range(_ROOM // _KEPT):
            if not self._read():
                return

    def close(self) -> None:
        """Close the reader's end; safe to repeat."""
        if self._outer >= 0:
            self._loop.remove_reader(self._outer)
            os.close(self._outer)
            self._outer = -1

    def _read(self) -> bool:
        """Read once, and keep the end only. Return whether there may be more."""
        try:
            data = os.read(self._outer, _ROOM)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._outer)
            return False
        self.kept = (self.kept + data)[-_KEPT:] if len(data) < _KEPT else data[-_KEPT:]
        return True


def _opened_in(stack: contextlib.ExitStack, loop: asyncio.AbstractEventLoop) -> _Tail:
    """Return a pipe whose two ends are closed with the stack."""
    tail = _Tail(loop)
    stack.callback(os.close, tail.inner)
    stack.callback(tail.close)
    return tail


class RunningProgram:
    """One run of a program: `async with`, at whose end nothing of its process group is left.

    When the program ends, whatever it has started in its group ends too. Entering the context raises CannotStartError
    if this machine has no thread or no descriptor for it.
    """

    def __init__(self, command: ProgramCommand) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._left = False
        "True when nobody wants the result any more."
        self._over = False
        "True when the process has been waited for, so that its number may be another's."

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        try:
            self._open()
        except OSError as error:
            raise _cannot_run(self._command.program, error) from None
        return self

    async def __aexit__(self, *_: object) -> None:
        with self._lock:
            self._left = True
            self._kill()
        self._output.close()
        self._errors.close()

    async def ended(self) -> int:
        """Wait for its end. Return its exit status, negative for a signal. Raise CannotStartError if it never began."""
        await self._started
        status = await asyncio.shield(self._ended)
        self._output.read_what_came()
        self._errors.read_what_came()
        return status

    @property
    def output(self) -> bytes:
        """The end of what it has written."""
        return self._output.kept

    @property
    def errors(self) -> bytes:
        """The end of its standard error; the same as `output` for a program without a question."""
        return self._errors.kept

    def _open(self) -> None:
        """Create the pipes and start a thread. Raise OSError if that fails; then nothing is left open."""
        with contextlib.ExitStack() as opened:
            self._output = _opened_in(opened, self._loop)
            self._errors = self._output if self._command.question is None else _opened_in(opened, self._loop)
            start_thread(self._run, name="program of the operator's")
            opened.pop_all()

    def _run(self) -> None:
        """Start the program, wait for it, and end its group. Runs in a thread."""
        inner = {self._output.inner, self._errors.inner}
        try:
            try:
                process = _start(self._command, self._output.inner, self._errors.inner)
            finally:
                for end in inner:
                    os.close(end)
        except CannotStartError as error:
            self._settle(self._started, error)
            return
        with self._lock:
            self._process = process
            if self._left:
                self._kill()
        self._settle(self._started, None)
        if hasattr(os, "waitid"):  # it stays a zombie, so that its number is not reused before the group is killed
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        else:
            process.wait()
        with self._lock:
            self._kill()
            status = process.wait()
            self._over = True
        self._settle(self._ended, status)

    def _settle(self, future: asyncio.Future, result: int | Exception | None) -> None:  # type: ignore[type-arg]
        def settle() -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
                future.exception()  # marks it as retrieved, since nobody may be waiting any more
            else:
                future.set_result(result)

        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(settle)

    def _kill(self) -> None:
        """Kill the whole group: a check has nothing to clean up, and must not hold up what comes next."""
        if self._process is None or self._over:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _start(command: ProgramCommand, output: int, errors: int) -> subprocess.Popen[bytes]:
    """Start the program, unless others could have changed it."""
    program = command.program
    try:
        refusal = why_not_run(program)
        if refusal is not None:
            raise CannotStartError(refusal)
        with _asked(command.question) as question, _turn():
            return subprocess.Popen(  # noqa: S603 - no shell; the operator's program, which nobody else can write
                [os.fspath(program), *command.words[1:]],
                cwd=command.directory,
                env=dict(command.environment),
                stdin=question,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
    except FileNotFoundError:
        raise CannotStartError(_why_not_found(program)) from None
    except MemoryError:
        raise _cannot_run(program, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))) from None
    except OSError as error:
        raise _cannot_run(program, error) from None


def _cannot_run(program: Path, error: OSError) -> CannotStartError:
    """Return the error that says why the system does not run it."""
    if (exhausted := explained(error.errno)) is not None:
        text = str(error.strerror) if isinstance(error, NoThreadError) else exhausted
        return CannotStartError(f"{program} cannot be run: {text}", passing=True)
    hint = ": begin it with a line such as #!/bin/sh" if error.errno == errno.ENOEXEC else ""
    return CannotStartError(f"{program} cannot be run: {(error.strerror or '').lower()}{hint}")


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Let one program be started at a time: each start takes the interpreter's lock for a millisecond or two."""
    # A start may take for ever if the program's disk hangs, so nobody waits long for another's start.
    is_mine = _STARTING.acquire(timeout=_LONGEST_TURN)
    try:
        yield
    finally:
        if is_mine:
            _STARTING.release()


@contextlib.contextmanager
def _asked(question: bytes | None) -> Iterator[int]:
    """Yield a standard input that contains the question."""
    if question is None:
        yield subprocess.DEVNULL
        return
    reader, writer = os.pipe()
    try:
        try:
            os.set_blocking(writer, False)
            written = os.write(writer, question)
        finally:
            os.close(writer)
        if written < len(question):
            raise CannotStartError("what is to be said to it is longer than a pipe holds")
        yield reader
    finally:
        os.close(reader)


def why_cannot_start(program: Path) -> str | None:
    """Return why a program cannot be started, as far as can be seen without starting it, or None."""
    try:
        return why_not_run(program) or why_no_interpreter(program)
    except FileNotFoundError:
        return _why_not_found(program)
    except OSError as error:
        return f"{program} cannot be run: {(error.strerror or '').lower()}"


def why_no_interpreter(program: Path) -> str | None:
    """Return that the interpreter in a program's first line is missing; None if it is there, or nobody can tell."""
    try:
        with program.open("rb") as file:
            first = file.readline(_LONGEST_FIRST_LINE)
    except OSError:
        return None
    words = first.removeprefix(b"#!").split() if first.startswith(b"#!") else []
    return _why_not_found(program) if words and not Path(os.fsdecode(words[0])).exists() else None


def why_not_run(program: Path) -> str | None:
    """Return why a program must not be run, with the remedy; None if it may. Raise OSError if it cannot be read."""
    real = program.resolve(strict=True)
    facts = real.stat()
    if not stat.S_ISREG(facts.st_mode):
        return f"{program} is not a file"
    for path in dict.fromkeys((real, *real.parents, *program.absolute().parents)):
        mode = path.stat().st_mode
        # If the sticky bit is set, as for /tmp, nobody can put another file in the place of somebody else's.
        if mode & (stat.S_IWGRP | stat.S_IWOTH) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
            return f"{path} can be written by others than its owner: chmod go-w {path}"
    if not os.access(real, os.X_OK):
        return f"{program} is not executable: chmod +x {program}"
    return None


def _why_not_found(program: Path) -> str:
    if program.exists():
        return f"{program} cannot be run: the interpreter that its first line names is not there"
    elsewhere = shutil.which(program.name)
    return f"there is no {program}" + (f": write {elsewhere} if that is meant" if elsewhere else "")
