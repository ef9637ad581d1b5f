"""What the daemon asks of the operating system for itself: real-time priority, and systemd's ear."""

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

DESCRIPTORS = 1024
"Open files that are asked for: what every system allows, and no more than select(2) in a script can bear."


def take_descriptors() -> int:
    """Raise the limit of open files to what is usual, if it is lower and may be raised; gives what it is then."""
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


def take_realtime_priority() -> str | None:
    """Run this thread before all ordinary ones; say why not, or None when it does.

    Threads and processes that it starts are ordinary again: only the heartbeat path is in a hurry.
    """
    if not hasattr(os, "sched_setscheduler"):
        return "this platform has no real-time scheduling"
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError as error:
        return f"sched_setscheduler: {error.strerror}"
    return None


def resident_bytes() -> int | None:
    """Give the memory that this process has; None where the system does not tell."""
    try:
        # proc_pid_statm(5): size and resident size in pages, and more.
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


class CannotRunError(Exception):
    """This node cannot run now; the text says why in plain words. `passing`: that may pass by itself."""

    def __init__(self, text: str, *, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class ServiceManager:
    """systemd, if it started this process and wants to hear from it; see sd_notify(3)."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]
        pid = environment.get("WATCHDOG_PID", "")
        microseconds = environment.get("WATCHDOG_USEC", "")
        wanted = microseconds.isdecimal() and pid in ("", str(os.getpid()))
        self.watchdog_interval = int(microseconds) / 2e6 if wanted else None
        "Seconds between two signs of life, half of what systemd allows; None when it watches nothing."
        self._notify: socket.socket | None = None
        if self._address:
            # Kept open: a daemon without descriptors that gave no sign of life would be killed.
            self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._notify.setblocking(False)  # noqa: FBT003 - the socket module takes it so

    def tell(self, **state: str | int) -> None:
        """Send a state such as READY=1; silent when nobody listens, for the farm does not depend on it."""
        if self._notify is None:
            return
        message = "\n".join(f"{name}={value}" for name, value in state.items())
        with contextlib.suppress(OSError):
            self._notify.sendto(message.encode(), self._address)

    def close(self) -> None:
        """Tell nothing any more; safe to repeat."""
        if self._notify is not None:
            self._notify.close()
            self._notify = None
