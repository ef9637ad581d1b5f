"""Gives up what a helper process of the daemon does not need: priority, capabilities, protection from the OOM killer.

A program that the daemon starts calls this on itself. The daemon could not do it without delay: its threads stand still
while a process is started.
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
"From linux/capability.h: two words for each of the three sets."
_F_SETSIG: Final = 10
"From asm-generic/fcntl.h."
_OOM_SCORE: Final = "500"
"Rather this process is killed than the daemon or the application: its work is simply asked for again."


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def give_up_powers(*, memory: int) -> None:
    """Become an ordinary process without capabilities, with `memory` bytes of data at most; so do child programs.

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
    """Have the kernel kill this process group as soon as nobody has the other end of the pipe `life` any more.

    The kernel does so whatever this process is doing, and however the other process has ended (F_SETSIG in fcntl(2)).
    """
    fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(life, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        if not os.read(life, 1):  # the other end was closed before the signal was set up
            os._exit(1)


def _give_up_capabilities() -> None:
    libc = ctypes.CDLL(None)
    try:
        # This comes first: otherwise root would get the capabilities back with the next program (capabilities(7)).
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
        libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), bytes(24))
    except AttributeError:  # a libc without these functions
        return
