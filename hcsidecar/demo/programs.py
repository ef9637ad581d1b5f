"""The processes of the demo: each has its own group, its output is read, and none outlives the demo.

A program dies even if the demo is killed, because the kernel then sends it a signal (setpriv --pdeathsig). Ctrl-C at
the terminal reaches only the demo, which ends the others itself.
"""

import asyncio
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

KEPT_LINES = 20
"Lines of a program's output that are kept in case it fails."
LONGEST_LINE = 16_384
"Bytes; a longer line is split."
GENTLY = 2.0
"Seconds that a program may take to end before it is killed."
_SYSTEM_PATHS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"The directories in which Debian installs servers, which may not be in the PATH of ordinary users."


class DemoError(Exception):
    """Raised if the demo cannot go on; the message says why, in words for its user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program that must be installed, and its Debian package."""

    name: str
    package: str


SETPRIV = Tool(name="setpriv", package="util-linux")


def find_tool(tool: Tool, *, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the path of a tool; None if it is not installed."""
    path = os.pathsep.join([environment.get("PATH", os.defpath), *_SYSTEM_PATHS])
    return shutil.which(tool.name, path=path)


class Lines:
    """Cuts a stream of bytes into lines of text."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Take bytes, and return the lines that they complete; empty bytes mean the end."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (not data or len(self._rest) > LONGEST_LINE):
            whole.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip() for line in whole]


class DemoProgram:
    """A program that runs or has ended."""

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        *,
        end_signal: signal.Signals,
        on_line: Callable[[str], None],
        stands_for_child: bool,
    ) -> None:
        self.name = name
        self.end_signal = end_signal
        self._stands_for_child = stands_for_child
        self.expected = False
        "Whether its end is expected: it was told to end, or is a command."
        self.ended = asyncio.Event()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.output = cast("IO[bytes]", process.stdout)
        self._process = process
        self._on_line = on_line
        self._splitter = Lines()

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.status is None

    def last_words(self) -> str:
        """Return the end of its output, indented, to show why it failed."""
        return "\n".join(f"    {line}" for line in self.lines) or "    (it said nothing)"

    @property
    def children(self) -> list[int]:
        """The ids of its children; none on a kernel without CONFIG_PROC_CHILDREN."""
        try:
            return [int(word) for word in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        except OSError:
            return []

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and all that it has started, or to the child that it stands for.

        Do nothing if it has ended.
        """
        if not self.running:
            return
        with suppress(ProcessLookupError):
            if not (self._stands_for_child and self._send_to_child(number)):
                # It is not reaped yet, which we do ourselves, so no other process can have its id.
                os.killpg(self.pid, number)

    def kill(self) -> None:
        """Kill it and all that it has started, even if it stands for a child."""
        if self.running:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _send_to_child(self, number: signal.Signals) -> bool:
        """Send a signal to the only child. Return False if there is none yet."""
        children = self.children
        if len(children) != 1:
            return False
        child = os.pidfd_open(children[0])
        try:
            # If it had ended before it was opened, another process could have its id.
            if self.children == children:
                signal.pidfd_send_signal(child, number)
        finally:
            os.close(child)
        return True

    def read(self) -> bool:
        """Read what it has written. Return False at the end of its output."""
        try:
            while data := os.read(self.output.fileno(), LONGEST_LINE):
                self._take(data)
        except BlockingIOError:
            return True
        self._take(b"")
        return False

    def reap(self) -> None:
        """Kill what it leaves behind, then take its exit status and the rest of its output."""
        self.kill()
        self._process.wait()
        self.read()
        self.output.close()
        self.ended.set()

    def _take(self, data: bytes) -> None:
        for line in self._splitter.feed(data):
            self.lines.append(line)
            self._on_line(line)


class DemoPrograms:
    """Starts programs on the running loop, and makes sure that all of them end."""

    def __init__(self, directory: Path, *, on_end: Callable[[DemoProgram], None]) -> None:
        """Programs start in `directory`; `on_end` is called with each that ended unexpectedly."""
        self._directory = directory
        self.fallen: list[DemoProgram] = []
        "The programs that ended unexpectedly."
        self._on_end = on_end
        self._running: list[DemoProgram] = []
        self._loop = asyncio.get_running_loop()
        self._setpriv = find_tool(SETPRIV)

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str], None] = lambda _line: None,
        end_signal: signal.Signals = signal.SIGKILL,
        pass_fds: Sequence[int] = (),
        stands_for_child: bool = False,
    ) -> DemoProgram:
        """Start a program, which inherits `pass_fds`. Raise DemoError if that fails.

        `end_signal` ends it with all its children. A program that `stands_for_child` waits for its only child, to which
        signals go, and ends with it.
        """
        if self._setpriv is None:
            raise DemoError(missing_tools(SETPRIV))
        try:
            process = subprocess.Popen(  # noqa: S603 - the demo's own programs, found by find_tool
                [self._setpriv, f"--pdeathsig={end_signal.name}", "--", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        except OSError as error:
            raise DemoError(f"{name} does not start: {error}") from None
        program = DemoProgram(name, process, end_signal=end_signal, on_line=on_line, stands_for_child=stands_for_child)
        self._running.append(program)
        self._watch(program)
        return program

    async def run(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        on_line: Callable[[str], None],
        stands_for_child: bool = False,
    ) -> int:
        """Run a command to its end, and return its exit status."""
        program = self.start(name, arguments, on_line=on_line, stands_for_child=stands_for_child)
        program.expected = True
        try:
            await program.ended.wait()
        finally:
            await self.end(program)
        return program.status or 0

    async def end(self, program: DemoProgram, number: signal.Signals | None = None) -> None:
        """End a program with its own signal or another one, and kill it if that takes too long; safe to repeat."""
        program.expected = True
        program.send(number or program.end_signal)
        try:
            async with asyncio.timeout(GENTLY):
                await program.ended.wait()
        except TimeoutError:
            program.kill()
            await program.ended.wait()

    async def end_all(self) -> None:
        """End all programs; safe to repeat."""
        await asyncio.gather(*(self.end(program) for program in self._running))

    def _watch(self, program: DemoProgram) -> None:
        os.set_blocking(program.output.fileno(), False)
        pidfd = os.pidfd_open(program.pid)

        def readable() -> None:
            if not program.read():
                self._loop.remove_reader(program.output)

        def exited() -> None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
            self._loop.remove_reader(program.output)
            program.reap()
            self._running.remove(program)
            if not program.expected:
                self.fallen.append(program)
                self._on_end(program)

        self._loop.add_reader(program.output, readable)
        self._loop.add_reader(pidfd, exited)


def missing_tools(*tools: Tool) -> str:
    """Return which tools are missing, and how to install them."""
    names = ", ".join(tool.name for tool in tools)
    packages = " ".join(dict.fromkeys(tool.package for tool in tools))
    return f"the demo needs {names}, not found here; on Debian, as root: apt-get install {packages}"
