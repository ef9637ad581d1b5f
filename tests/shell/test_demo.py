"""The demo on loopback, with real daemons, nginx and HAProxy: it keeps its promises and leaves nothing behind."""

import fcntl
import json
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

import pytest
from leftovers import living_below

WHOLE_FARM = 10
"Processes: three daemons, three nginx with a worker each, and HAProxy."
LIMIT = 60.0
"Seconds that anything here may take."
NO_NAMESPACES = ["setpriv", "--bounding-set=-sys_admin", "--"] if os.geteuid() == 0 else []
"Root as in a container that gives it no network of its own."


@pytest.fixture
def place():
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
def demo(place, *options, **more):
    """The demo as its user starts it, with its temporary directory in a place of ours."""
    environment = dict(os.environ) | {"TMPDIR": str(place)} | more.pop("environment", {})
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True} | more
    command = [*NO_NAMESPACES, sys.executable, "-m", "hcsidecar", "demo", *options]
    with subprocess.Popen(command, env=environment, start_new_session=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


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


def test_the_story_keeps_every_promise_and_leaves_nothing(place):
    with demo(place, "--script", "--json") as process:
        until(lambda: len(living_below(place)) >= WHOLE_FARM, "the whole farm")
        out, err = process.communicate(timeout=LIMIT)
    report = json.loads(out)
    broken = [verdict for step in report["steps"] for verdict in step["verdicts"] if not verdict["kept"]]
    assert (process.returncode, broken, err) == (0, [], "")
    failed = [step["summary"]["failed"] for step in report["steps"]]
    assert failed == [0, 0, failed[2], 0]
    assert failed[2] > 0, "a kill does cost requests: the client would see if others did"


def test_an_interruption_in_the_middle_of_the_story_leaves_nothing(place):
    with demo(place, "--script") as process:
        read_until(process, "$ hcsidecar stop")
        assert len(living_below(place)) >= WHOLE_FARM
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (128 + signal.SIGINT, "Interrupted by SIGINT; nothing is left behind.\n")


def test_an_interruption_while_the_farm_is_put_up_leaves_nothing(place):
    with demo(place, "--script") as process:
        until(lambda: living_below(place), "the first process")
        process.terminate()
        process.communicate(timeout=LIMIT)
    assert process.returncode == 128 + signal.SIGTERM


def test_no_process_outlives_even_a_killed_demo(place):
    with demo(place, "--script") as process:
        read_until(process, "$ hcsidecar stop")
        process.kill()
        until(lambda: not living_below(place), "the end of all processes")
    # Nobody is there to remove it.
    shutil.rmtree(next(place.iterdir()))


def test_a_start_that_fails_half_way_shows_the_last_words_and_leaves_nothing(place, tmp_path):
    broken = tmp_path / "haproxy"
    broken.write_text("#!/bin/sh\necho '[ALERT] no such luck'\nexit 1\n")
    broken.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with demo(place, "--script", environment={"PATH": path}) as process:
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert err == "haproxy has ended with status 1; its last words:\n    [ALERT] no such luck\n"


def test_without_a_terminal_it_tells_plain_lines_until_interrupted(place):
    with demo(place) as process:
        lines = read_until(process, "longest gap")
        assert any("web1     module: UP(Ready)" in line for line in lines)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, "")


def test_on_a_terminal_keys_work_and_its_mode_is_put_back(place):
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 160, 0, 0))
        before = termios.tcgetattr(theirs)
        with demo(place, stdin=theirs, stdout=theirs, stderr=theirs, environment={"TERM": "xterm"}) as process:
            screen = Screen(ours)
            screen.read_until("stop gently")
            os.write(ours, b"3k")
            screen.read_until("kill -9 web3: web server and daemon")
            screen.read_until("Server web/web3 is DOWN")
            os.write(ours, b"q")
            until(lambda: screen.read() and process.poll() is not None, "the end")
        assert process.returncode == 0
        assert termios.tcgetattr(theirs) == before
        assert "\x1b[?1049l" in screen.text, "the screen is the one from before"
        assert "\x1b[?25h" in screen.text, "the cursor is there again"
    finally:
        os.close(ours)
        os.close(theirs)


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
        until(lambda: self.read() and text in self.text, text)


def test_json_belongs_to_the_script(place):
    with demo(place, "--json") as process:
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert "goes with --script" in err
