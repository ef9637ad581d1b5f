"""The whole command line, as a shell would start it, many times within seconds.

One process loads it once and forks for each command, since loading takes a second on a slow machine. What a command
sees is the real thing: descriptors, arguments as bytes, a terminal of a width.
"""

import contextlib
import fcntl
import gc
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import traceback
from pathlib import Path

FULL = "full"
"Standard output is /dev/full."
UNREAD = "unread"
"Standard output is a pipe whose reader has gone."
CLOSED = "closed"
"Standard output is closed."
FILE = "file"


class Ended:
    """What a command has left: its status, negative for a signal, and what it has written."""

    def __init__(self, status, stdout, stderr):
        self.status, self.stdout, self.stderr = status, stdout, stderr

    def __repr__(self):
        return f"status {self.status}\n{self.stdout.decode(errors='replace')}\n{self.stderr.decode(errors='replace')}"


class CommandLine:
    """A process that forks commands; `environment` is what it begins with, beside what it needs."""

    def __init__(self, **environment):
        usual = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
        # Beside this file a folder of tests has the name of a package, and would be found for it.
        usual["PYTHONPATH"] = str(Path(__file__).parents[1])
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=usual | environment
        )

    def give(self, *arguments, stdout=FILE, columns=0, **environment):
        """Give a command; with `columns` its output is a terminal so wide. Waits for its end, and gives it."""
        with tempfile.TemporaryDirectory() as directory:
            question = {
                "arguments": [os.fsdecode(argument) for argument in arguments],
                "stdout": stdout,
                "columns": columns,
                "environment": environment,
                "directory": directory,
            }
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
            status = json.loads(self._process.stdout.readline())
            return Ended(status, *((Path(directory) / name).read_bytes() for name in ("stdout", "stderr")))

    def close(self):
        """End it."""
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(10) == 0


@contextlib.contextmanager
def command_line(**environment):
    """Have a command line for a while."""
    given = CommandLine(**environment)
    try:
        yield given
    finally:
        given.close()


def _serve():
    """Fork for each question; returns in the process that is to be the command, and at the end."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    for line in sys.stdin.buffer:
        question = json.loads(line)
        terminal = _terminal(question["columns"]) if question["columns"] else None
        process = os.fork()
        if process == 0:
            answers.close()
            _become(question, terminal)
            return True
        if terminal:
            _copy(terminal, Path(question["directory"]) / "stdout")
        _, status = os.waitpid(process, 0)
        answers.write(json.dumps(os.waitstatus_to_exitcode(status)).encode() + b"\n")
    return False


def _terminal(columns):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    return ours, theirs


def _copy(terminal, path):
    ours, theirs = terminal
    os.close(theirs)
    with path.open("wb") as file:
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # nobody has the other end any more
                break
            file.write(data)
    os.close(ours)


def _become(question, terminal):
    directory = Path(question["directory"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(directory / "stderr", os.O_WRONLY | os.O_CREAT), 2)
    if terminal:
        os.dup2(terminal[1], 1)
    elif question["stdout"] == UNREAD:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
        (directory / "stdout").touch()
    elif question["stdout"] == FULL:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
        (directory / "stdout").touch()
    else:
        os.dup2(os.open(directory / "stdout", os.O_WRONLY | os.O_CREAT), 1)
    if question["stdout"] == CLOSED:
        os.close(1)
        sys.stdout = None
    sys.argv = ["hcsidecar", *question["arguments"]]
    os.environ.update(question["environment"])


def _end(main):
    """Do the command and end as the interpreter would, but without taking apart what was loaded, which takes longer."""
    status = 1
    try:
        main()
        status = 0
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    from hcsidecar.__main__ import main

    gc.freeze()  # what is loaded is shared with every command, and is not looked through for garbage
    if _serve():
        _end(main)
