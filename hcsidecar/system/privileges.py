"""Gives up what a process of the daemon's need not have: priority, capabilities, being spared by the OOM killer.

For a program that the daemon starts, which calls it on itself: there is nothing left to do for the daemon then, whose
threads stand still while a process is started.
"""

import contextlib
import ctypes
import fcntl
import os
import resource
import signal
from pathlib import Path
from typing import Final

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3: Final = 0x20080522
"Of linux/capability.h: two words for each of the three sets."
_F_SETSIG: Final = 10
"Of asm-generic/fcntl.h."
_OOM_SCORE: Final = "500"
"Rather this process than the daemon or the application: what it did is asked for again."


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def give_up_powers(*, memory: int) -> None:
    """Become an ordinary process without capabilities, of `memory` bytes of data at most; its programs likewise.

    What the system refuses stays as it is: a sandbox may have taken it away already.
    """
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with contextlib.suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, 0) < 0:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE, encoding="ascii")
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    _give_up_capabilities()


def end_with(life: int) -> None:
    """Have the kernel kill this process group as soon as nobody has the other end of this pipe any more.

    The kernel does so whatever this process is at, and however the other one has ended (F_SETSIG in fcntl(2)).
    """
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        if not os.read(life, 1):  # it was too late for a signal
            os._exit(1)


def _give_up_capabilities() -> None:
    libc = ctypes.CDLL(None)
    try:
        # First of all: who is root would get the capabilities back with the next program (capabilities(7)).
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), bytes(24))
    except AttributeError:  # a libc without them
        return
