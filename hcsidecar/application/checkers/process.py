"""Checks how many processes of the application run, in /proc, and whether a systemd unit is active.

It does without psutil: counting 546 processes by name takes 10 ms of processor time here, 14 ms with psutil.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hcsidecar.application.checkers.pattern import TooSlowError, count_matches
from hcsidecar.application.checkers.reasons import describe
from hcsidecar.core.application.process_selection import (
    command_line,
    complaint,
    is_called,
    is_in_unit,
    parse_stat,
    unit_file_state,
)
from hcsidecar.core.exhaustion import explained
from hcsidecar.core.farmfile.farm_file import ProcessCheck
from hcsidecar.system.blocking_calls import BlockingCalls

_ROOM: Final = 65536
"Bytes that are read of a command line."
_AT_ONCE: Final = 100
"Processes that are examined between two pauses."
_BREATH: Final = 0.005
"Seconds of a pause: about as long as it takes to examine this many processes."
_BOOTED: Final = Path("/run/systemd/system")
"Exists if systemd is the init of this machine; see sd_booted(3)."
_SYSTEMCTL_TIMEOUT: Final = 60.0
"Seconds after which systemctl is killed; the check has failed long before."


async def probe(check: ProcessCheck, calls: BlockingCalls) -> str | None:
    """Count once; return why the number is wrong, or None. May be cancelled."""
    return await calls.run_in_turn(lambda: look(check))


def look(check: ProcessCheck, proc: Path = Path("/proc"), systemctl: str | None = None) -> str | None:
    """Count the matching processes, as `probe` does. Not for the loop's thread: a machine may have thousands."""
    if sys.platform != "linux":
        return "process checks need Linux"
    try:
        state = None if check.unit is None else _unit_state(check.unit, systemctl or _systemctl())
        found = _found(check, proc)
        if check.command_line is None:
            count = sum(1 for _ in found)
        else:
            lines = (command_line(_read(process / "cmdline")) for process in found)
            count = count_matches(check.command_line, lines)
    except TooSlowError as error:
        return str(error)
    except OSError as error:
        return describe(error) if explained(error.errno) else f"{error.filename or proc}: {error.strerror}"
    return complaint(check, count, unit_state=state)


def _found(check: ProcessCheck, proc: Path) -> Iterator[Path]:
    """Yield the directories in /proc of the processes with the check's name, and in its unit."""
    with os.scandir(proc) as entries:
        numbers = [entry.name for entry in entries if entry.name.isdecimal()]
    for index, number in enumerate(numbers, start=1):
        if index % _AT_ONCE == 0:
            # The daemon's threads run at real-time priority; ordinary ones must get a part of a small machine.
            time.sleep(_BREATH)
        process = proc / number
        stat = parse_stat(_read(process / "stat"))
        if stat is None or not stat.runs:
            continue
        if check.process is not None and not is_called(stat, check.process):
            continue
        if check.unit is None or is_in_unit(_read(process / "cgroup"), check.unit):
            yield process


def _read(path: Path) -> bytes:
    try:
        with path.open("rb", buffering=0) as opened:
            return opened.read(_ROOM) or b""
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended meanwhile, or hidden from us
        return b""


def _systemctl() -> str | None:
    return shutil.which("systemctl") if _BOOTED.is_dir() else None


def _unit_state(unit: str, systemctl: str | None) -> str | None:
    """Return the state of a unit; None if systemd is not the init of this machine."""
    if systemctl is None:
        return None
    command = [systemctl, "show", "--property=LoadState,ActiveState", "--", unit]
    try:
        done = subprocess.run(  # noqa: S603 - no shell; the unit is the operator's
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SYSTEMCTL_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return "unknown: systemctl does not answer"
    lines = done.stdout.decode(errors="replace").splitlines()
    return unit_file_state(dict(line.split("=", 1) for line in lines if "=" in line))
