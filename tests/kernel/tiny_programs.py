"""BPF programs of two instructions: they return one number, and so take, drop or ignore every packet."""

import ctypes
import mmap
import os
import platform
import struct
from pathlib import Path

from l2mode.kernel.libbpf import BpfProgram

TC, XDP = 3, 6
TC_ACT_UNSPEC, TC_ACT_SHOT = -1, 2
XDP_DROP, XDP_PASS = 1, 2

_BPF_PROG_LOAD = 5
_BPF_LINK_CREATE = 28
_SYSCALL = {"x86_64": 321, "aarch64": 280}[platform.machine()]
_libc = ctypes.CDLL(None, use_errno=True)


def program(kind, answer, name="tiny"):
    """Load a program that returns `answer`; its descriptor stays open until the process ends or closes it."""
    code = struct.pack("<BBhi", 0xB7, 0, 0, answer) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    places = ctypes.addressof(instructions), ctypes.addressof(licence)
    attributes = struct.pack("=IIQQIIQII16s", kind, len(code) // 8, *places, 0, 0, 0, 0, 0, name.encode())
    fd = _bpf(_BPF_PROG_LOAD, attributes + bytes(64))
    facts = dict(line.split(":\t", 1) for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
    return BpfProgram(name=name, fd=fd, number=int(facts["prog_id"]), tag=facts["prog_tag"])


def link_at_tcx_ingress(tiny, index):
    """Attach a program at tcx ingress, as Cilium does; it is there until the descriptor that this gives is closed."""
    return _bpf(_BPF_LINK_CREATE, struct.pack("=IIII", tiny.fd, index, 46, 0) + bytes(64))


def memory():
    """Stand in for the tables of a program that has none."""
    return mmap.mmap(-1, mmap.PAGESIZE)


def _bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    result = _libc.syscall(_SYSCALL, command, buffer, len(attributes))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
