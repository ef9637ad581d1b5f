"""A generator of several million packets a second, and the programs that only drop: flood.bpf.c, built when needed.

The kernel's test-run call runs the program on live frames, in batches, and sends out what it redirects
(BPF_F_TEST_XDP_LIVE_FRAMES, Documentation/bpf/bpf_prog_run.rst). The receiving end of a veth must take frames by NAPI:
it has a native XDP program, or GRO is on. Everything, the receiver's work in the soft interrupt too, happens on the
core of the calling thread.
"""

import ctypes
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final

from benchmarks.figures import CannotMeasureError
from benchmarks.processes import cpu_seconds
from l2mode.kernel.libbpf import TestRun

SOURCES: Final = IPv4Network("198.18.0.0/15")
"Where the packets say they come from: the addresses that RFC 2544 keeps for benchmarks."

_CODE: Final = Path(__file__).with_name("flood.bpf.c")
_PLAN: Final = struct.Struct("=I4sIIII12s")
"As `struct plan` in flood.bpf.c."
_LIVE_FRAMES: Final = 2
"BPF_F_TEST_XDP_LIVE_FRAMES of linux/bpf.h."
_BATCH: Final = 64
_LEAST: Final = 10_000
"Frames of the first call."
_LONG_ENOUGH: Final = 0.05
"Seconds of a call: before and after each the kernel waits for some 20 ms."
_SIZE: Final = 60
"Of a frame, without its checksum: the smallest there is."


class Kind(Enum):
    """What the packets are."""

    SYN = 6
    "The first of a TCP connection, with a right checksum."
    UDP = 17
    "Without a checksum, which spares the receiver a look at the data."


class Programs:
    """The programs of flood.bpf.c, loaded."""

    def __init__(self, object_file: Path, stack: ExitStack) -> None:
        self._libbpf = _libbpf()
        self._object = self._libbpf.bpf_object__open(str(object_file).encode())
        if not self._object:
            raise CannotMeasureError(f"libbpf does not open {object_file}")
        stack.callback(self._libbpf.bpf_object__close, self._object)
        error = self._libbpf.bpf_object__load(self._object)
        if error:
            raise CannotMeasureError(f"the kernel does not load {_CODE.name} (error {error}); is this root?")
        variables = self._libbpf.bpf_object__find_map_by_name(self._object, b".bss")
        self._plan = mmap.mmap(self._libbpf.bpf_map__fd(variables), mmap.PAGESIZE)
        stack.callback(self._plan.close)
        self._frame = bytes(_SIZE)

    def descriptor(self, name: str) -> int:
        """Give the file descriptor of a program."""
        program = self._libbpf.bpf_object__find_program_by_name(self._object, name.encode())
        return int(self._libbpf.bpf_program__fd(program))

    def aim(self, kind: Kind, *, interface: int, macs: bytes, vip: IPv4Address, port: int) -> None:
        """Say out of which interface of the caller's namespace packets go, and to whom.

        `macs` is the destination's and the source's.
        """
        length = _SIZE - 14
        first = SOURCES.network_address.packed
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, kind.value, 0, bytes(4), vip.packed)
        if kind is Kind.SYN:
            transport = struct.pack("!HHIIBBHHH", 0, port, 1, 0, 0x50, 0x02, 64240, 0, 0).ljust(length - 20, b"\0")
            pseudo = struct.pack("!4sHH", vip.packed, kind.value, length - 20)
            tcp_sum = _sum(pseudo + transport)
        else:
            transport = struct.pack("!HHHH", 0, port, length - 20, 0).ljust(length - 20, b"\0")
            tcp_sum = 0
        self._frame = macs + b"\x08\x00" + ip + transport
        self._plan[: _PLAN.size] = _PLAN.pack(
            interface, first, SOURCES.num_addresses - 1, time.monotonic_ns() & 0xFFFFFFFF, _sum(ip), tcp_sum, macs
        )

    def send(self, *, seconds: float) -> float:
        """Send for a while from the caller's network namespace; give the seconds of the core that all of it took.

        Time of the core, not of the clock: what else runs there does not count, nor what the kernel waits for.
        """
        pool = _ksoftirqd()
        before = time.thread_time() + cpu_seconds(pool)
        count, now = _LEAST, time.monotonic()
        until = now + seconds
        while (began := now) < until:
            self._send(count)
            now = time.monotonic()
            if now - began < _LONG_ENOUGH:
                count *= 2
        return time.thread_time() + cpu_seconds(pool) - before

    def _send(self, count: int) -> None:
        options = TestRun(
            sz=ctypes.sizeof(TestRun),
            data_in=self._frame,
            data_size_in=len(self._frame),
            repeat=count,
            flags=_LIVE_FRAMES,
            batch_size=_BATCH,
        )
        error = self._libbpf.bpf_prog_test_run_opts(self.descriptor("flood"), ctypes.byref(options))
        if error:
            raise CannotMeasureError(f"the kernel does not send live frames (error {error}); Linux 5.18 and later do")


@contextmanager
def programs() -> Iterator[Programs]:
    """Build and load the programs; CannotMeasureError says what is missing."""
    if shutil.which("clang") is None:
        raise CannotMeasureError("clang is missing (apt-get install clang)")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hcsidecar-bench-")))
        compiled = directory / "flood.bpf.o"
        built = subprocess.run(
            ("clang", "-O2", "-g", "-target", "bpf", *_includes(), "-c", str(_CODE), "-o", str(compiled)),
            check=False,
            capture_output=True,
            text=True,
        )
        if built.returncode:
            raise CannotMeasureError(f"{_CODE.name} does not compile (apt-get install libbpf-dev): {built.stderr}")
        yield Programs(compiled, stack)


def _ksoftirqd() -> int:
    """Give the process that does the soft interrupts of the caller's core when they are many."""
    (core,) = os.sched_getaffinity(0)
    wanted = f"ksoftirqd/{core}\n"
    return next(int(name.parent.name) for name in Path("/proc").glob("[0-9]*/comm") if name.read_text() == wanted)


def _sum(data: bytes) -> int:
    """Add up words as they lie in memory, as the program does on the same machine."""
    return sum(struct.unpack(f"={len(data) // 2}H", data))


def _includes() -> tuple[str, ...]:
    """Name the directory of <asm/types.h>, which a compiler for bpf does not search by itself."""
    found = subprocess.run(("clang", "-print-multiarch"), check=True, capture_output=True, text=True)
    return ("-I", f"/usr/include/{found.stdout.strip()}")


def _libbpf() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libbpf.so.1")
    except OSError as error:
        raise CannotMeasureError("libbpf is missing (apt-get install libbpf1)") from error
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("bpf_object__open", pointer, (text,)),
        ("bpf_object__load", ctypes.c_int, (pointer,)),
        ("bpf_object__close", None, (pointer,)),
        ("bpf_object__find_program_by_name", pointer, (pointer, text)),
        ("bpf_object__find_map_by_name", pointer, (pointer, text)),
        ("bpf_program__fd", ctypes.c_int, (pointer,)),
        ("bpf_map__fd", ctypes.c_int, (pointer,)),
        ("bpf_prog_test_run_opts", ctypes.c_int, (ctypes.c_int, pointer)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
