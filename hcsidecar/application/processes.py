"""The kernel's table of processes, and ending some of them; see proc(5). Elsewhere than on Linux the table is empty.

Read by hand, not by psutil: of 546 processes that takes 14 ms of a processor, psutil 24 ms for the same fields, and the
daemon would have 2.7 MB more.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from hcsidecar.core.application.leftover_processes import Process
from hcsidecar.core.exhaustion import explained

PATIENCE: Final = 5.0
"Seconds from SIGTERM to SIGKILL."
_LAST_PATIENCE: Final = 2.0
"Seconds after SIGKILL until what still lives is said to have survived."
_INTERVAL: Final = 0.05
_PROC = Path("/proc")


def read_processes() -> dict[int, Process]:
    """Give all processes that can be seen, by their ids; OSError when there is no descriptor to look with."""
    return {process.pid: process for pid in _pids() if (process := _read(pid)) is not None}


def read_marks(pids: Collection[int], run_marked_in: Callable[[bytes], str | None]) -> Mapping[int, str]:
    """Give the run in whose name each process is marked; those whose environment may not be read are left out."""
    found = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            if (run := run_marked_in((_PROC / str(pid) / "environ").read_bytes())) is not None:
                found[pid] = run
    return found


def group_lives(group: int) -> bool:
    """Tell whether a process group has members."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to all members of a process group; nothing happens when there are none."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def end(find: Callable[[], Collection[Process]], *, patience: float = PATIENCE) -> Collection[Process]:
    """End all processes that `find` finds, also those that come up meanwhile; gives those that nothing could end.

    `find` is called in a thread, again and again: SIGTERM once for each process, SIGKILL after `patience`. An
    OSError of its last call is raised.
    """
    loop = asyncio.get_running_loop()
    kill_at = loop.time() + patience
    asked: set[Process] = set()
    while True:
        over = loop.time() >= kill_at + _LAST_PATIENCE
        try:
            found = await asyncio.to_thread(find)
        except OSError:
            if over:
                raise
            await asyncio.sleep(_INTERVAL)
            continue
        if not found or over:
            return found
        for process in found:
            if loop.time() >= kill_at:
                _send(process, signal.SIGKILL)
            elif process not in asked:
                _send(process, signal.SIGTERM)
                # One that is stopped could not end otherwise.
                _send(process, signal.SIGCONT)
        asked.update(found)
        await asyncio.sleep(_INTERVAL)


def _send(process: Process, number: signal.Signals) -> None:
    """Send a signal to this very process, not to another one that has its number now.

    Without descriptors nothing is sent now; who calls this looks again.
    """
    try:
        if not hasattr(os, "pidfd_open"):
            os.kill(process.pid, number)
            return
        descriptor = os.pidfd_open(process.pid)
        try:
            now = _read(process.pid)
            if now is not None and now.start == process.start:
                signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)
    except (ProcessLookupError, PermissionError):
        pass
    except OSError as error:
        if explained(error.errno) is None:
            raise


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir(_PROC) if name.isdecimal()]  # noqa: PTH208 - a quarter of the time
    except FileNotFoundError:
        return []


def _read(pid: int) -> Process | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The name may have blanks and brackets in it.
    before, _, after = text.rpartition(")")
    words = after.split()
    return Process(
        pid=pid,
        parent=int(words[1]),
        group=int(words[2]),
        state=words[0],
        start=int(words[19]),
        command=before.partition("(")[2],
    )
