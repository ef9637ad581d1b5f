"""The demo as its user starts it, for tests of the whole of it."""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import contextmanager
from pathlib import Path

from leftovers import living_below

LIMIT = 120.0
"Seconds that anything here may take."
NO_NAMESPACES = ("setpriv", "--bounding-set=-sys_admin", "--") if os.geteuid() == 0 else ()
"Root as in a container that gives it no network of its own."


@contextmanager
def empty_place():
    """A temporary directory with a path short enough for sockets; the test must leave it empty."""
    directory = Path(tempfile.mkdtemp(prefix="demo-"))
    try:
        yield directory
        assert living_below(directory) == []
        assert list(directory.iterdir()) == []
    finally:
        for process in living_below(directory):
            os.kill(process, signal.SIGKILL)
        shutil.rmtree(directory)


@contextmanager
def demo(place, *options, prefix=(), **more):
    """The demo with its temporary directory in a place of ours."""
    environment = dict(os.environ) | {"TMPDIR": str(place)} | more.pop("environment", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True} | more
    command = [*prefix, sys.executable, "-m", "hcsidecar", "demo", *options]
    with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def demo_on_a_terminal(place, *, prefix=(), lines=30):
    """The live view on a terminal of its own: the process, the screen, and what presses keys; all is put back."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, 160, 0, 0))
        before = termios.tcgetattr(theirs)
        pipes = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        # What the test runner says of its own terminal is not true of this one.
        size = {"TERM": "xterm", "COLUMNS": "160", "LINES": str(lines)}
        with demo(place, prefix=prefix, environment=size, **pipes) as process:
            yield process, Screen(ours), lambda keys: os.write(ours, keys.encode())
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def until(condition, what, *, limit=LIMIT):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {limit} s"
        time.sleep(0.02)


def read_until(process, text):
    """Read lines of its output until one of them has the text."""
    lines = []
    while not lines or text not in lines[-1]:
        line = process.stdout.readline()
        assert line, f"no {text!r} in {lines} before the end: {process.stderr.read()}"
        lines.append(line)
    return lines


class Screen:
    """What a program writes to a terminal."""

    def __init__(self, terminal):
        self.text = ""
        self._terminal = terminal

    def read(self):
        """Read what is there, for a moment; always true."""
        ready, _, _ = select.select([self._terminal], [], [], 0.05)
        if ready:
            self.text += os.read(self._terminal, 65536).decode(errors="replace")
        return True

    def read_until(self, text):
        try:
            until(lambda: self.read() and text in self.text, text)
        except AssertionError as error:
            raise AssertionError(f"{error}; the screen had\n{self.text[-6000:]}") from None
