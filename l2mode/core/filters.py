"""Which packet filter suits an interface, and where it is placed among the filters of others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from l2mode.core.filter_kinds import FilterKind
from l2mode.core.interface import Interface

FILTER_NAME: Final = "hcsidecar"
"The prefix of the names of all our filters. Each passes packets that are not its own, so their order does not matter."
_NAME_BYTES: Final = 255
"The length of a filter's name that the kernel keeps (CLS_BPF_NAME_LEN, less the final zero)."


_USE_NFQUEUE: Final = 'set filter = "nfqueue" in [l2]'

_COSTS: Final = {
    FilterKind.NFQUEUE: "a Python process judges every packet, some 30,000 a second at most, where a filter in "
    "the kernel refuses more than a million",
    FilterKind.XDP: "large uploads are slower, since the card no longer merges what comes in",
    FilterKind.XDP_GENERIC: "it is no faster than tc",
}
"""The cost of a filter used in place of a better one: the figures of the manual and benchmarks/RESULTS.md in a few
words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A filter that was tried and does not work on this machine."""

    kind: FilterKind
    problem: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterChoice:
    """The filter in use, and the filters that were tried before it."""

    kind: FilterKind
    why: str
    "Why it was tried."
    passed_over: tuple[PassedOver, ...] = ()

    @property
    def degraded(self) -> bool:
        """True when only the filter in user space works, and nobody asked for that one."""
        return self.kind is FilterKind.NFQUEUE and bool(self.passed_over)

    @property
    def cost(self) -> str:
        """Return what it costs that other filters do not work; empty if it costs nothing."""
        return _COSTS.get(self.kind, "") if self.passed_over else ""

    @property
    def fall_back(self) -> str | None:
        """The filters that this one replaces, why, and what that costs; None if it was the first one tried."""
        if not self.passed_over:
            return None
        better = " and ".join(each.kind.value for each in self.passed_over)
        cost = f": {self.cost}" if self.cost else ""
        return f"the filter is {self.kind.value} in place of {better} ({problems_of(self.passed_over)}){cost}"

    @property
    def remedy(self) -> str:
        """Return what makes the better filters work, or ends the complaint; empty if there is nothing to do."""
        enough = (f"{_USE_NFQUEUE}, if it is enough",) if self.degraded else ()
        return _either(*(each.remedy for each in self.passed_over), *enough)


def problems_of(passed_over: Sequence[PassedOver]) -> str:
    """Return why filters do not work, each reason once."""
    problems = dict.fromkeys(each.problem for each in passed_over)
    if len(problems) == 1:
        return next(iter(problems))
    return "; ".join(
        f"{' and '.join(each.kind.value for each in passed_over if each.problem == problem)}: {problem}"
        for problem in problems
    )


def remedies_of(passed_over: Sequence[PassedOver]) -> str:
    """Return what the operator can do if none of these filters works, each remedy once."""
    queue = () if any(each.kind is FilterKind.NFQUEUE for each in passed_over) else (f"{_USE_NFQUEUE}, which is slow",)
    return _either(*(each.remedy for each in passed_over), *queue)


def _either(*remedies: str) -> str:
    return "; or ".join(dict.fromkeys(remedies))


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterRow:
    """A filter at the ingress of an interface, as the kernel lists it."""

    priority: int
    "1 to 65535; the lowest number is asked first."
    handle: int
    "0 in a row that says only that something has this priority."
    kind: str
    "The classifier: bpf, u32, flower and so on."
    name: str = ""
    protocol: int = 0
    "As the kernel writes it: an EtherType in network byte order."


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """The place where a filter is attached."""

    priority: int
    handle: int


class FilterCandidate(NamedTuple):
    """A filter to try."""

    kind: FilterKind
    why: str
    "The reason to try it."


def candidates(wanted: str, interface: Interface) -> tuple[FilterCandidate, ...]:
    """Return the filters to try for the farm file's `filter`, the best one first.

    On real interfaces XDP drops packets fastest. But the driver then hands on every packet as it comes, where tc gets
    many merged into one and forwards them so: a large upload takes several times as long. Some drivers also reset the
    card when a program is attached or detached. XDP is therefore for those who expect floods rather than uploads, and
    must be asked for.
    """
    name, kind = interface.name, interface.kind
    device = f"driver {interface.driver}" if interface.driver else "a device without a named driver"
    native = FilterCandidate(FilterKind.XDP, f"{name} is a real interface ({device})")
    # XDP on a veth loses the packets that it forwards and disables the other end's segmentation offload. What bridges,
    # bonds and VLANs do with XDP depends on the interfaces below them.
    not_native = f"{name} is made by software ({kind}), where XDP has no advantage or does not work"
    match wanted:
        case "xdp":
            fallback = FilterCandidate(FilterKind.XDP_GENERIC, not_native if kind else "its driver has no XDP")
            return (fallback,) if kind else (native, fallback)
        case "tc":
            return (FilterCandidate(FilterKind.TC, "the farm file wants it"),)
        case "nfqueue":
            return (FilterCandidate(FilterKind.NFQUEUE, "the farm file wants it"),)
        case _:
            queue = FilterCandidate(FilterKind.NFQUEUE, "it needs no BPF")
            if kind:
                return (FilterCandidate(FilterKind.TC, not_native), queue)
            return (
                FilterCandidate(FilterKind.TC, "it carries large transfers best, on every interface"),
                native,
                queue,
            )


def filter_name(farm: str) -> str:
    """Return the name of a farm's filter on an interface, by which it is recognised after a kill."""
    return f"{FILTER_NAME}:{farm}".encode()[:_NAME_BYTES].decode(errors="ignore")


def own_row(rows: Sequence[FilterRow], name: str) -> FilterRow | None:
    """Return the filter of this name, or None."""
    return next((row for row in rows if row.kind == "bpf" and row.name == name), None)


def place_for(rows: Sequence[FilterRow], name: str) -> Attachment:
    """Return the place for the filter of this name: over its former self, or else as far ahead as there is room."""
    own = own_row(rows, name)
    if own is not None:
        return Attachment(priority=own.priority, handle=own.handle)
    taken = {row.priority for row in rows}
    return Attachment(priority=next(priority for priority in range(1, 1 << 16) if priority not in taken), handle=1)


def ahead_of(rows: Sequence[FilterRow], priority: int) -> tuple[str, ...]:
    """Return a description of each filter of others that is asked before the one at this priority.

    A filter that answers "take it" (TC_ACT_OK) lets a packet past ours, even when the lease is over.
    """
    strangers = {
        row.priority: f"{row.kind} {row.name}".strip()
        for row in rows
        if row.priority < priority and row.handle and not row.name.startswith(FILTER_NAME)
    }
    return tuple(f"{what} at priority {at}" for at, what in sorted(strangers.items()))
