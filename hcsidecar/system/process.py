"""What the daemon needs of the operating system for itself: descriptors, real-time priority, the link to systemd."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DESCRIPTORS = 1024
"Open files that are asked for: what every system allows, and no more than select(2) in a script can handle."


def take_descriptors() -> int:
    """Raise the limit of open files to the usual value, if it is lower and may be raised. Return the limit."""
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return DESCRIPTORS
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft


_HEARTBEATS, _OTHERS = 2, 1
"Real-time priorities of the thread that sends heartbeats and of all others; the same if only 1 is allowed."
_TURN = 0.0002
"Seconds after which a thread that computes in Python yields to another one that waits."


def take_realtime_priority() -> str | None:
    """Give this process's threads priority over all ordinary ones, and this one, the main thread, over the others.

    Return why that is not possible, or None. A thread that begins later inherits this thread's priority, and must call
    `keep_pace` first, so that the processes that it starts are ordinary. This thread itself must not start processes
    any more.
    """
    if not hasattr(os, "sched_setscheduler"):
        return "this platform has no real-time scheduling"
    try:
        # Without SCHED_RESET_ON_FORK: a thread that began as an ordinary one would hold the interpreter's lock before
        # it could call keep_pace.
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_HEARTBEATS))
        except PermissionError:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_OTHERS))
    except OSError as error:
        return f"sched_setscheduler: {error.strerror}"
    for thread in threading.enumerate():
        if thread.native_id is not None and thread.native_id != threading.get_native_id():
            with contextlib.suppress(OSError):
                _hurry(thread.native_id, _OTHERS)
    sys.setswitchinterval(_TURN)
    return None


def keep_pace() -> None:
    """Give this thread priority over all ordinary ones, below the main thread; processes that it starts are ordinary.

    This applies only if the process has real-time priority. Each thread of the daemon calls it first. Only one thread
    at a time has the interpreter's lock. An ordinary thread that has it may get no processor for hundreds of
    milliseconds on a busy machine, and the heartbeats would wait for it.
    """
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):
            if os.sched_getscheduler(os.getpid()) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR:
                _hurry(0, _OTHERS)


def _hurry(thread: int, priority: int) -> None:
    os.sched_setscheduler(thread, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(priority))


def start_programs_without_waiting() -> None:
    """Let a thread that starts a program continue before the program has begun.

    With vfork(2), which Python uses by default, the thread that starts a program stands still, holding the
    interpreter's lock, until the new process has had the processor, which takes hundreds of milliseconds on a busy
    machine.
    """
    # The subprocess module documents this attribute for programs that must not use vfork.
    subprocess._USE_VFORK = False  # type: ignore[misc]  # noqa: SLF001


def resident_bytes() -> int | None:
    """Return the resident memory of this process, in bytes; None if the system does not tell."""
    try:
        # proc_pid_statm(5): size and resident size in pages, and more.
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class CannotRunError(Exception):
    """This node cannot run now; the text says why in plain words. `passing` is True if that may end by itself."""

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


START_LIMIT: Final = 900.0
"Seconds that a start may take in a process that systemd watches already; TimeoutStartSec of the unit."


class ServiceManager:
    """systemd, if it started this process and expects notifications; see sd_notify(3)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        pid = environment.get("WATCHDOG_PID", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        wanted = microseconds.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog_interval = int(microseconds) / 2e6 if wanted else None
        "Seconds between two signs of life, half of what systemd allows; None if it does not watch."
        self._watched = int(microseconds) if wanted else None
        "Microseconds without a sign of life after which systemd kills this process, where it watches."
        self._notify: socket.socket | None = None
        if self._address:
            # Kept open: systemd would kill a daemon that, for want of a descriptor, gave no sign of life.
            self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._notify.setblocking(False)  # noqa: FBT003 - the socket module takes it so

    def tell(self, **state: str | int) -> None:
        """Send a state such as READY=1. Failures are ignored, because the farm does not depend on it."""
        if self._notify is None:
            return
        message = "\n".join(f"{name}={value}" for name, value in state.items())
        with contextlib.suppress(OSError):
            self._notify.sendto(message.encode(), self._address)

    def tell_ready(self) -> None:
        """Tell that the start is over, and be watched as the unit says from now on."""
        watched = {} if self._watched is None else {"WATCHDOG_USEC": self._watched}
        self.tell(READY=1, MAINPID=os.getpid(), **watched)

    def tell_restart(self) -> None:
        """Tell that this process replaces its program by itself.

        For systemd it goes on, and is watched. Without this it would be killed in a start that takes long.
        """
        watched = {} if self._watched is None else {"WATCHDOG": 1, "WATCHDOG_USEC": round(START_LIMIT * 1e6)}
        self.tell(STATUS="starts again", **watched)

    def close(self) -> None:
        """Close the socket; safe to repeat."""
        if self._notify is not None:
            self._notify.close()
            self._notify = None
