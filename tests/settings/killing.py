"""Kills a process at a chosen step of what it does to the file system."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

_STEPS = {
    "open",
    "os.mkdir",
    "os.rename",
    "os.link",
    "os.chmod",
    "os.remove",
    "os.rmdir",
    "shutil.rmtree",
    "tempfile.mkdtemp",
    "tempfile.mkstemp",
}
"Audit events of Python, each raised before the step is taken."


def killed_at_every_step(act: Callable[[], None], look: Callable[[], None]) -> int:
    """Let a process act and be killed at its first step, the next at its second, … and look after each.

    Gives how many were killed. The process must have no threads: it is forked.
    """
    for number in count(1):
        child = os.fork()
        if child == 0:
            _be_killed_at(number)
            act()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        look()
        if status == 0:
            return number - 1
        assert status == -signal.SIGKILL, status
    raise AssertionError


def run_killed(program: str, directory: Path) -> list[int]:
    """Run a program beside this file that kills processes of its own, and give the numbers that it prints."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name(f"{program}.py"), directory],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [int(number) for number in done.stdout.split()]


def _be_killed_at(number: int) -> None:
    left = number

    def hook(event: str, _: object) -> None:
        nonlocal left
        if event not in _STEPS:
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
