"""BPF programs that are not ours, or were: found by the number that the kernel gave them.

The number of a program is never given again before the machine is started anew.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

BPF_TCX_INGRESS: Final = 46
"Attach type of <linux/bpf.h>; Linux 6.6."
_MOST: Final = 64
"The most programs that the kernel hangs on one tcx hook (BPF_MPROG_MAX)."
_INFO_BYTES: Final = 80
_INFO_NAME: Final = slice(64, 80)
"Where `struct bpf_prog_info` has the name."


@contextmanager
def opened(number: int) -> Iterator[int | None]:
    """Open a program by its number; gives None where that is not permitted or it is gone.

    It takes CAP_SYS_ADMIN, but for a program that this process has open anyway.
    """
    library = _library()
    fd = library.bpf_prog_get_fd_by_id(number) if library is not None else -1
    if fd < 0:
        fd = _open_already(number)
    if fd < 0:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def name_of(number: int) -> str:
    """Give a program's name; empty where it has none or may not be looked at."""
    library = _library()
    with opened(number) as fd:
        if fd is None or library is None:
            return ""
        info = ctypes.create_string_buffer(_INFO_BYTES)
        length = ctypes.c_uint32(_INFO_BYTES)
        if library.bpf_obj_get_info_by_fd(fd, info, ctypes.byref(length)) != 0:
            return ""
    return info.raw[_INFO_NAME].split(b"\0")[0].decode(errors="replace")


def describe(number: int) -> str:
    """Name a program for a person."""
    name = name_of(number)
    return f"program {number} ({name})" if name else f"program {number}"


def at_tcx_ingress(index: int) -> tuple[int, ...]:
    """Give the programs at the tcx hook of an interface, which runs before all tc filters; () before Linux 6.6."""
    library = _library()
    if library is None:
        return ()
    numbers = (ctypes.c_uint32 * _MOST)()
    count = ctypes.c_uint32(_MOST)
    flags = ctypes.c_uint32()
    arguments = (ctypes.byref(flags), numbers, ctypes.byref(count))
    if library.bpf_prog_query(index, BPF_TCX_INGRESS, 0, *arguments) != 0:
        code = ctypes.get_errno()
        if code in {errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ENOENT}:
            return ()
        raise OSError(code, os.strerror(code))
    return tuple(numbers[: count.value])


def _open_already(number: int) -> int:
    """Give another descriptor of a program that this process has open, or -1."""
    for file in Path("/proc/self/fdinfo").iterdir():
        try:
            if f"\nprog_id:\t{number}\n" in file.read_text(encoding="ascii"):
                return os.dup(int(file.name))
        except OSError:  # closed meanwhile
            continue
    return -1


@cache
def _library() -> ctypes.CDLL | None:
    """Load libbpf; None where it is missing, so that there is no program of ours either."""
    try:
        return ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        return None
