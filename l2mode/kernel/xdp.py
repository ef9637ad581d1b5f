"""The filter as XDP program. An interface has one XDP program only, so somebody else's is never replaced.

Flags and attributes are those of <linux/if_link.h>; net/core/dev.c of the kernel defines their meaning.
"""

import errno
from collections.abc import Callable
from mmap import mmap
from typing import Any, Final

from l2mode.core.filter_kinds import FilterKind
from l2mode.kernel.changes import XdpAttached
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import index_if_there
from l2mode.kernel.libbpf import BpfProgram
from l2mode.kernel.netlink import refused_as, route
from l2mode.kernel.programs import describe, opened
from l2mode.kernel.record import Record
from l2mode.kernel.tc import index_of

_ONLY_IF_NONE: Final = 1
_GENERIC: Final = 2
_NATIVE: Final = 4
_REPLACE: Final = 16
_NO_PROGRAM: Final = -1


class XdpFilter:
    """A `PacketFilter` that is an XDP program of one interface."""

    def __init__(
        self,
        program: BpfProgram,
        memory: mmap,
        *,
        generic: bool,
        interface: str,
        record: Record,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = (FilterKind.XDP_GENERIC if generic else FilterKind.XDP).value
        self.memory = memoryview(memory)
        self.warnings: tuple[str, ...] = ()
        self._program = program
        self._interface = interface
        self._mine = XdpAttached(interface=interface, generic=generic, program_id=program.number)
        self._record = record
        self._close = close

    def attach(self) -> None:
        """Attach the program, in place of what an earlier process of this node left. Raise FilterError if refused."""
        index = index_of(self._interface)
        present = self._present(index)
        if present == self._mine.program_id:
            return
        former = self._left_by_us(present)
        if present is not None and former is None:
            raise self._occupied(present)
        self._record.note(self._mine)
        try:
            self._take_place(index, former)
        except OSError as error:
            self._record.forget(self._mine)
            raise self._refused(error) from error
        if former is not None:
            self._record.forget(former)

    def detach(self) -> None:
        """Remove the program, unless another has taken its place; safe to repeat."""
        self._record.restore(XdpAttached)

    def prepare(self) -> None:
        """Do nothing more: the program is loaded."""

    def retire(self) -> None:
        """Close the descriptors of the program, whose place another one has taken."""
        self._close()

    def repair(self) -> str | None:
        """Attach the program again if somebody has removed it, and return a sentence about that.

        Raise FilterError if another program has taken its place.
        """
        present = self._present(index_of(self._interface))
        if present == self._mine.program_id:
            return None
        self.attach()
        return f"the packet filter was removed from {self._interface}: put back"

    def _present(self, index: int) -> int | None:
        with refused_as(f"{self._interface} cannot be asked for its XDP program"):
            return program_at(index)

    def _left_by_us(self, present: int | None) -> XdpAttached | None:
        for change in self._record.changes:
            if isinstance(change, XdpAttached) and (change.interface, change.program_id) == (self._interface, present):
                return change
        return None

    def _take_place(self, index: int, former: XdpAttached | None) -> None:
        if former is None:
            _set(index, self._program.fd, generic=self._mine.generic, flags=_ONLY_IF_NONE)
        elif former.generic == self._mine.generic:
            _set(index, self._program.fd, generic=self._mine.generic, instead_of=former.program_id)
        else:
            # A program in the driver and one in the kernel cannot replace each other without a gap.
            _set(index, _NO_PROGRAM, generic=former.generic, instead_of=former.program_id)
            _set(index, self._program.fd, generic=self._mine.generic, flags=_ONLY_IF_NONE)

    def _occupied(self, present: int) -> FilterError:
        return FilterError(
            f"{self._interface} has an XDP {describe(present)} already, and only one has room",
            f'set filter = "tc" in [l2], or, if nobody needs it: ip link set dev {self._interface} xdp off',
        )

    def _refused(self, error: OSError) -> FilterError:
        if error.errno == errno.EPERM:
            remedy = "run with the capability CAP_NET_ADMIN"
        elif self._mine.generic:
            remedy = 'set filter = "tc" in [l2]'
        else:
            remedy = 'set filter = "tc" in [l2], or give the driver what it asks for (a smaller MTU, more queues)'
        return FilterError(f"{self._interface} takes no program as {self.name}: {error.strerror}", remedy)


def program_at(index: int) -> int | None:
    """Return the id of an interface's XDP program, in the driver or generic; None if there is none."""
    with route() as ip:
        (link,) = ip.link("get", index=index)
    return _number(link)


def detach_program(change: XdpAttached) -> str | None:
    """Detach a program, unless another has taken its place. Raise OSError if that is refused."""
    index = index_if_there(change.interface)
    if index is None:  # the interface is gone, and the program with it
        return None
    if program_at(index) != change.program_id:
        return None
    _set(index, _NO_PROGRAM, generic=change.generic, instead_of=change.program_id)
    return f"the packet filter is removed from {change.interface}"


def _set(index: int, fd: int, *, generic: bool, flags: int = 0, instead_of: int | None = None) -> None:
    """Attach a program or none; `instead_of` is the id of the one that must be there. Raise OSError if refused."""
    attributes: list[tuple[str, int]] = [("IFLA_XDP_FD", fd)]
    flags |= _GENERIC if generic else _NATIVE
    if instead_of is None:
        _send(index, attributes, flags)
        return
    with opened(instead_of) as expected:
        if expected is None:
            # Without CAP_SYS_ADMIN the present program cannot be named; the caller has just seen which one it is.
            _send(index, attributes, flags)
        else:
            _send(index, [*attributes, ("IFLA_XDP_EXPECTED_FD", expected)], flags | _REPLACE)


def _send(index: int, attributes: list[tuple[str, int]], flags: int) -> None:
    with route() as ip:
        ip.link("set", index=index, xdp={"attrs": [*attributes, ("IFLA_XDP_FLAGS", flags)]})


def _number(link: Any) -> int | None:
    xdp = link.get("xdp")
    if xdp is None:
        return None
    numbers = [xdp.get_attr(f"IFLA_XDP_{mode}_PROG_ID") for mode in ("DRV", "SKB", "HW")]
    return next((number for number in numbers if number), None)
