"""How many processes of the application run, from /proc; and whether a unit of systemd is active.

Without psutil: to count by name among 546 processes takes 10 ms of a processor here, 14 ms there.
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
from hcsidecar.core.farmfile.settings import ProcessCheck
from hcsidecar.system.blocking_calls import BlockingCalls

_ROOM: Final = 65536
"Bytes of a command line that are read."
_AT_ONCE: Final = 100
"Processes that are looked at without a breath."
_BREATH: Final = 0.005
"Seconds of one: about as long as it takes to look at so many."
_BOOTED: Final = Path("/run/systemd/system")
"Is there when systemd runs this machine (sd_booted(3))."
_SYSTEMCTL_TIMEOUT: Final = 60.0
"Seconds after which systemctl is given up: the check has failed long before."


async def probe(check: ProcessCheck, calls: BlockingCalls) -> str | None:
    """Count once; gives the reason when the number is not as it should be. May be cancelled."""
    return await calls.run_in_turn(lambda: look(check))


def look(check: ProcessCheck, proc: Path = Path("/proc"), systemctl: str | None = None) -> str | None:
    """Count the processes that fit; not for the thread of the loop, for a machine may have many thousands."""
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
    """Give the directories in /proc of the processes with the name, and in the unit, that are looked for."""
    with os.scandir(proc) as entries:
        numbers = [entry.name for entry in entries if entry.name.isdecimal()]
    for index, number in enumerate(numbers, start=1):
        if index % _AT_ONCE == 0:
            # For the daemon's threads run before all ordinary ones, which must have their part of a small machine.
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
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # it has ended meanwhile, or is hidden from us
        return b""


def _systemctl() -> str | None:
    return shutil.which("systemctl") if _BOOTED.is_dir() else None


def _unit_state(unit: str, systemctl: str | None) -> str | None:
    """Ask systemd; None where it does not run this machine."""
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
