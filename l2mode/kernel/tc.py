"""The filter at tc ingress: a BPF program on the clsact qdisc of an interface, shared with other filters.

It stays when the process is killed, and drops the farm's packets once the lease is over. A link of the newer kind (tcx)
would vanish with the process and open the virtual IP. See tc-bpf(8).
"""

import errno
from collections.abc import Callable
from mmap import mmap
from typing import Any, Final

from l2mode.core.filters import Attachment, FilterRow, ahead_of, filter_name, own_row, place_for
from l2mode.kernel.changes import ClassifierAdded, FilterAttached
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import index_if_there
from l2mode.kernel.libbpf import BpfProgram
from l2mode.kernel.netlink import NetlinkError, refused_as, route
from l2mode.kernel.programs import at_tcx_ingress, describe
from l2mode.kernel.record import Record

_INGRESS: Final = 0xFFFFFFF2
_EGRESS: Final = 0xFFFFFFF3
_ETH_P_ALL: Final = 3


class TcFilter:
    """A `PacketFilter` at tc ingress, of one farm on one interface."""

    name = "tc"

    def __init__(
        self,
        program: BpfProgram,
        memory: mmap,
        *,
        interface: str,
        farm: str,
        record: Record,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.memory = memoryview(memory)
        self.warnings: tuple[str, ...] = ()
        self._program = program
        self._interface = interface
        self._filter = filter_name(farm)
        self._record = record
        self._close = close

    def attach(self) -> None:
        """Attach the program, in place of what an earlier process left there. Raise FilterError if refused."""
        index = index_of(self._interface)
        try:
            self._attach(index)
        except OSError as error:
            raise FilterError(
                f"{self._interface} takes no tc filter: {error.strerror}", _remedy(error, self._interface)
            ) from error

    def detach(self) -> None:
        """Remove the program, and the qdisc if it was added for it and nobody else uses it; safe to repeat."""
        self._record.restore(FilterAttached, ClassifierAdded)

    def prepare(self) -> None:
        """Do nothing more: the program is loaded."""

    def retire(self) -> None:
        """Close the descriptors of the program, whose place another one has taken."""
        self._close()

    def repair(self) -> str | None:
        """Attach the filter again if somebody has removed it, and return a sentence about that, or None.

        Raise FilterError if it cannot be attached.
        """
        index = index_of(self._interface)
        with refused_as(f"the filters of {self._interface} cannot be read"):
            rows = filters_on(index)
            own = own_row(rows, self._filter)
            if own is not None:
                self._look_ahead(index, rows, own.priority)
                return None
        self.attach()
        return f"the packet filter was removed from {self._interface}: put back"

    def _attach(self, index: int) -> None:
        with route() as ip:
            self._add_qdisc(ip, index)
            place = place_for(_rows(ip, index), self._filter)
            self._record.note(FilterAttached(interface=self._interface, name=self._filter))
            ip.tc(
                "replace-filter",
                "bpf",
                index,
                fd=self._program.fd,
                name=self._filter,
                direct_action=True,
                handle=place.handle,
                **_at(place),
            )
            rows = _rows(ip, index)
        if own_row(rows, self._filter) is None:
            raise FilterError(
                f"the packet filter was put on {self._interface} and is not there",
                "find out what removes filters there",
            )
        self._look_ahead(index, rows, place.priority)

    def _add_qdisc(self, ip: Any, index: int) -> None:
        change = ClassifierAdded(interface=self._interface)
        if _holder(ip, index) is not None:
            self._record.keep(change)
            return
        self._record.note(change)
        try:
            ip.tc("add", "clsact", index)
        except NetlinkError as error:
            if error.code != errno.EEXIST:
                raise
            self._record.forget(change)  # somebody else has just added it, so it is theirs

    def _look_ahead(self, index: int, rows: list[FilterRow], priority: int) -> None:
        ahead = [*(f"tcx {describe(number)}" for number in at_tcx_ingress(index)), *ahead_of(rows, priority)]
        self.warnings = tuple(
            f"{what} on {self._interface} comes before this filter: what it lets through is not shared out"
            for what in ahead
        )


def detach_filter(change: FilterAttached) -> str | None:
    """Remove a filter by its name. Raise OSError if that is refused."""
    index = index_if_there(change.interface)
    if index is None:  # the interface is gone, and the filter with it
        return None
    with route() as ip:
        own = own_row(_rows(ip, index), change.name)
        if own is None:
            return None
        ip.tc("del-filter", "bpf", index, handle=own.handle, **_at(own))
    return f"the packet filter {change.name} is removed from {change.interface}"


def remove_if_empty(change: ClassifierAdded) -> str | None:
    """Remove the qdisc that was added, unless others' filters use it. Raise OSError if that is refused."""
    index = index_if_there(change.interface)
    if index is None:
        return None
    with route() as ip:
        if _holder(ip, index) != "clsact":
            return None
        if _rows(ip, index) or _rows(ip, index, _EGRESS):
            return f"the clsact qdisc of {change.interface} stays: others have hung filters on it"
        ip.tc("del", "clsact", index)
    return f"the clsact qdisc of {change.interface} is removed"


def filters_on(index: int) -> list[FilterRow]:
    """Return the filters at the ingress of an interface."""
    with route() as ip:
        return _rows(ip, index)


def index_of(interface: str) -> int:
    """Return the present index of an interface. Raise FilterError if there is none of this name."""
    with refused_as(f"{interface} cannot be found"):
        index = index_if_there(interface)
    if index is None:
        raise FilterError(f"there is no interface {interface}", "bring it back, or name another one")
    return index


def _rows(ip: Any, index: int, parent: int = _INGRESS) -> list[FilterRow]:
    return [
        FilterRow(
            priority=row["info"] >> 16,
            protocol=row["info"] & 0xFFFF,
            handle=row["handle"],
            kind=row.get("kind") or "",
            name=_name(row),
        )
        for row in ip.get_filters(index, parent=parent)
    ]


def _name(row: Any) -> str:
    options = row.get("options")  # the first row of a priority has none
    return (options.get_attr("TCA_BPF_NAME") or "") if row.get("kind") == "bpf" and options is not None else ""


def _holder(ip: Any, index: int) -> str | None:
    """Return the kind of the qdisc that holds ingress filters: clsact, the older ingress, or None."""
    kinds = {row.get("kind") for row in ip.get_qdiscs(index)}
    return next((kind for kind in ("clsact", "ingress") if kind in kinds), None)


def _at(place: Attachment | FilterRow) -> dict[str, int]:
    return {"parent": _INGRESS, "prio": place.priority, "protocol": _ETH_P_ALL}


def _remedy(error: OSError, interface: str) -> str:
    if error.errno == errno.EPERM:
        return "run with the capability CAP_NET_ADMIN"
    if error.errno in {errno.ENOENT, errno.EOPNOTSUPP}:
        return 'the kernel needs CONFIG_NET_CLS_ACT and CONFIG_NET_CLS_BPF; or set filter = "nfqueue" in [l2]'
    return f"see `tc qdisc show dev {interface}` and `tc filter show dev {interface} ingress`"
