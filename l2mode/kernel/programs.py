"""BPF programs that are not ours, or were ours: found by the id that the kernel gave them.

The kernel never gives the id of a program again before a reboot.
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
"The most programs that the kernel attaches to one tcx hook (BPF_MPROG_MAX)."
_INFO_BYTES: Final = 80
_INFO_NAME: Final = slice(64, 80)
"The place of the name in `struct bpf_prog_info`."


@contextmanager
def opened(number: int) -> Iterator[int | None]:
    """Open a program by its id. Yield its descriptor, or None if that is not permitted or the program is gone.

    This takes CAP_SYS_ADMIN, except for a program that this process already has open.
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
    """Return a program's name; empty if it has none or may not be read."""
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
    """Return a description of a program for a person."""
    name = name_of(number)
    return f"program {number} ({name})" if name else f"program {number}"


def at_tcx_ingress(index: int) -> tuple[int, ...]:
    """Return the ids of the programs at an interface's tcx hook; () before Linux 6.6.

    The hook runs before all tc filters.
    """
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
    """Return another descriptor of a program that this process has open, or -1."""
    for file in Path("/proc/self/fdinfo").iterdir():
        try:
            if f"\nprog_id:\t{number}\n" in file.read_text(encoding="ascii"):
                return os.dup(int(file.name))
        except OSError:  # closed in the meantime
            continue
    return -1


@cache
def _library() -> ctypes.CDLL | None:
    """Return libbpf; None if it is missing, in which case there is no program of ours either."""
    try:
        return ctypes.CDLL("libbpf.so.1", use_errno=True)
    except OSError:
        return None
