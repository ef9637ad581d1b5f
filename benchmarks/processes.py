"""Processes to measure: started so that they end with this one, and what they cost, as the kernel counts it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

PATIENCE = 10.0
"Seconds that a program may take to end when told."


def start(*arguments: str, output: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a program that leads a group of its own, and that the kernel ends should this process be killed."""
    return subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", "--", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def start_python(*arguments: str, output: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start this interpreter likewise."""
    return start(sys.executable, *arguments, output=output)


def tell(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a program and to all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, number)


def end(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a program and to all that it has started, and wait for its end. Safe to repeat."""
    tell(process, number)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def cpu_seconds(pid: int) -> float:
    """Give the time that all threads of a process have run so far.

    From schedstat, which counts in nanoseconds: the ticks of `stat` miss what runs for less than 10 ms at a time.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def cpu_seconds_with_children(pid: int) -> float:
    """Give the same, and what its children had run that have ended since, and theirs: to 10 ms; see proc(5)."""
    # The name may have blanks and brackets in it. Its own utime is field 14, so the children's are the 16th and 17th.
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return cpu_seconds(pid) + (int(words[13]) + int(words[14])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> tuple[float, float]:
    """Give the resident memory of a process, now and at its highest, in MiB."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    now, highest = (int(status[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
    return now, highest


def children(pid: int) -> tuple[int, ...]:
    """Give the processes that a process has started."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return tuple(int(child) for task in tasks for child in (task / "children").read_text().split())


def shares_of_a_core(
    groups: Mapping[str, Iterable[int]], *, seconds: float, spent: Callable[[int], float] = cpu_seconds
) -> dict[str, float]:
    """Watch groups of processes for a while, and give what each group used, in percent of one core.

    `spent` gives the seconds that a process has used so far.
    """
    pids = {name: tuple(group) for name, group in groups.items()}
    before = {name: sum(map(spent, group)) for name, group in pids.items()}
    began = time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return {name: 100 * (sum(map(spent, group)) - before[name]) / took for name, group in pids.items()}
