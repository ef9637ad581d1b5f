"""The packet filter in the kernel: the object of filter.bpf.c, loaded with libbpf, its programs and its memory.

libbpf is called through ctypes; /usr/include/bpf/libbpf.h describes its functions. What libbpf and the verifier print
goes into the error that is raised, not to the daemon's standard error.
"""

import ctypes
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from l2mode.core.loading import why_refused
from l2mode.core.tables import Tables
from l2mode.kernel.errors import FilterError

OBJECT: Final = Path(__file__).with_name("filter.bpf.o")

XDP: Final = "hcsidecar_xdp"
TC: Final = "hcsidecar_tc"
"The names of the programs, as `bpftool prog` shows them."


@dataclass(frozen=True, slots=True, kw_only=True)
class BpfProgram:
    """A program that the kernel has accepted. It lives as long as its descriptor or its attachment."""

    name: str
    fd: int
    number: int
    "The kernel's id for it."
    tag: str
    "16 hexadecimal digits, the same for the same instructions."


class BpfFilter:
    """The loaded filter: its programs by name, and the memory of `Tables.SIZE` bytes that all of them read.

    `programs` names the programs to load. The rest of the object file is left out, so that the kernel need not support
    what only the other programs call. Raise FilterError if the filter cannot be loaded.
    """

    def __init__(self, programs: Sequence[str], *, path: Path = OBJECT) -> None:
        self._library = _library()
        self._object: int | None = None
        self.programs: dict[str, BpfProgram] = {}
        said: list[str] = []
        try:
            with self._library.listening(said):
                self._load(programs, path, said)
            self.memory: mmap.mmap = self._map(path)
            self.programs = {name: self._program(name) for name in programs}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the descriptors of the programs. Attached programs stay in the kernel, and so does their memory."""
        if self._object is not None:
            self._library.call("bpf_object__close", self._object)
            self._object = None

    def run(self, name: str, frame: bytes, *, room: int = 256) -> tuple[int, bytes]:
        """Have the kernel run a program on one frame (BPF_PROG_TEST_RUN). Return its result, and the frame afterwards.

        Sockets are looked up in the network namespace of the calling thread. `room` is the number of bytes by which the
        frame may grow. Raise OSError if the kernel refuses: a tc program does not run on less than an Ethernet and an
        IP header.
        """
        output = ctypes.create_string_buffer(len(frame) + room)
        options = TestRun(
            sz=ctypes.sizeof(TestRun),
            data_in=frame,
            data_size_in=len(frame),
            data_out=ctypes.addressof(output),
            data_size_out=len(output),
        )
        error = self._library.call("bpf_prog_test_run_opts", self.programs[name].fd, ctypes.byref(options))
        if error < 0:
            raise OSError(-error, os.strerror(-error))
        return options.retval, output.raw[: options.data_size_out]

    def _load(self, programs: Sequence[str], path: Path, said: list[str]) -> None:
        library = self._library
        options = _OpenOptions(sz=ctypes.sizeof(_OpenOptions), object_name=b"hcsidecar")
        self._object = library.call("bpf_object__open_file", os.fsencode(path), ctypes.byref(options))
        if not self._object:
            raise FilterError(
                f"the packet filter {path} cannot be opened: {os.strerror(ctypes.get_errno())}",
                "install hcsidecar again: the file is part of it",
            )
        program = library.call("bpf_object__next_program", self._object, None)
        while program:
            wanted = library.call("bpf_program__name", program).decode() in programs
            library.call("bpf_program__set_autoload", program, wanted)
            program = library.call("bpf_object__next_program", self._object, program)
        error = library.call("bpf_object__load", self._object)
        if error < 0:
            raise _refused(OSError(-error, os.strerror(-error)), said)

    def _map(self, path: Path) -> mmap.mmap:
        table = self._library.call("bpf_object__find_map_by_name", self._object, b".bss")
        size = self._library.call("bpf_map__value_size", table) if table else 0
        if size != Tables.SIZE:
            raise FilterError(
                f"the packet filter {path} has {size} bytes of tables where this version has {Tables.SIZE}",
                "install hcsidecar again: the file is of another version",
            )
        try:
            return mmap.mmap(self._library.call("bpf_map__fd", table), size)
        except OSError as error:
            raise FilterError(
                f"the packet filter's tables cannot be mapped into memory: {error.strerror}",
                "see the kernel's log",
            ) from error

    def _program(self, name: str) -> BpfProgram:
        program = self._library.call("bpf_object__find_program_by_name", self._object, name.encode())
        fd = self._library.call("bpf_program__fd", program)
        facts = dict(line.split(":\t", 1) for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines())
        return BpfProgram(name=name, fd=fd, number=int(facts["prog_id"]), tag=facts["prog_tag"])


def _refused(error: OSError, said: Sequence[str]) -> FilterError:
    system = os.uname()
    refusal = why_refused(error, said, capabilities=capabilities(), kernel=f"{system.sysname} {system.release}")
    return FilterError(refusal.problem, refusal.remedy, last_words=refusal.last_words)


def capabilities() -> int:
    """Return the mask of the effective capabilities of this process (CapEff of proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return int(value, 16)
    return 0


class _OpenOptions(ctypes.Structure):
    """The beginning of `struct bpf_object_open_opts`; libbpf takes the rest as zero."""

    _fields_ = (("sz", ctypes.c_size_t), ("object_name", ctypes.c_char_p))


class TestRun(ctypes.Structure):
    """`struct bpf_test_run_opts` of bpf/bpf.h."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


_PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_DEBUG: Final = 2
"libbpf's level for debug messages, which are not collected."


class _Library:
    """libbpf.so.1 and those of its functions that are used."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL("libbpf.so.1", use_errno=True)
        except OSError as error:
            raise FilterError(
                "libbpf.so.1 is missing, which loads the packet filter",
                "apt install libbpf1 (Debian, Ubuntu) or dnf install libbpf",
            ) from error
        pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
        signatures = {
            "bpf_object__open_file": (pointer, text, pointer),
            "bpf_object__next_program": (pointer, pointer, pointer),
            "bpf_object__load": (number, pointer),
            "bpf_object__close": (None, pointer),
            "bpf_object__find_program_by_name": (pointer, pointer, text),
            "bpf_object__find_map_by_name": (pointer, pointer, text),
            "bpf_program__name": (text, pointer),
            "bpf_program__set_autoload": (number, pointer, ctypes.c_bool),
            "bpf_program__fd": (number, pointer),
            "bpf_map__fd": (number, pointer),
            "bpf_map__value_size": (ctypes.c_uint32, pointer),
            "bpf_prog_test_run_opts": (number, number, pointer),
            "libbpf_set_print": (pointer, pointer),
        }
        self._functions = {name: getattr(library, name) for name in signatures}
        for name, (result, *arguments) in signatures.items():
            self._functions[name].restype = result
            self._functions[name].argtypes = arguments
        # The variable argument list is handed on to C's own printf as the pointer that it is passed as.
        c = ctypes.CDLL(None)
        self._printf, self._free = c.vasprintf, c.free
        self._printf.argtypes, self._free.argtypes = (pointer, text, pointer), (pointer,)

    def call(self, name: str, *arguments: object) -> Any:
        """Return what a function of libbpf returns."""
        return self._functions[name](*arguments)

    @contextmanager
    def listening(self, said: list[str]) -> Iterator[None]:
        """Append the lines that libbpf prints to `said` within this context."""

        def collect(level: int, form: bytes, arguments: int) -> int:
            text = ctypes.c_void_p()
            if level < _DEBUG and self._printf(ctypes.byref(text), form, arguments) >= 0:
                said.extend(ctypes.string_at(text.value or 0).decode(errors="replace").splitlines())
                self._free(text)
            return 0

        callback = _PRINT(collect)
        before = self._functions["libbpf_set_print"](callback)
        try:
            yield
        finally:
            self._functions["libbpf_set_print"](before)


@cache
def _library() -> _Library:
    return _Library()
