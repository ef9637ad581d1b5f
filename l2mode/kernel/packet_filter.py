"""The packet filters as the rest of the program sees them, and the choice of one for a machine."""

from pathlib import Path
from typing import Protocol, assert_never

from l2mode.core.filter_kinds import FilterKind
from l2mode.core.filters import FilterChoice, PassedOver, candidates, problems_of, remedies_of
from l2mode.core.frames import virtual_mac
from l2mode.core.settings import LayerTwoSettings
from l2mode.core.tables import Tables
from l2mode.kernel import libbpf
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import read_interface
from l2mode.kernel.record import Record, TellOperator
from l2mode.kernel.tc import TcFilter
from l2mode.kernel.xdp import XdpFilter


class PacketFilter(Protocol):
    """Decides about each packet to a virtual IP, by tables that this process writes."""

    @property
    def name(self) -> str:
        """The kind of filter: xdp, xdp generic, tc or nfqueue."""

    @property
    def memory(self) -> memoryview:
        """`Tables.SIZE` writable bytes, which the filter reads while they are written."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What interferes with the filter and it cannot change, as of the last `attach` or `repair`."""

    def prepare(self) -> None:
        """Do all that takes long before `attach`; nothing is filtered yet. Raise FilterError if refused."""

    def attach(self) -> None:
        """Begin to filter by the present tables; what is in place already stays. Raise FilterError if refused."""

    def detach(self) -> None:
        """Stop filtering; safe to repeat."""

    def retire(self) -> None:
        """Give back what this filter needs, when another one has taken its place or it was never attached."""

    def repair(self) -> str | None:
        """Restore what somebody has removed and return a sentence about it; None if nothing is missing.

        Raise FilterError if it cannot be restored.
        """


def choose_filter(
    wanted: str,
    settings: LayerTwoSettings,
    interface: str,
    record: Record,
    *,
    tell: TellOperator,
    object_file: Path = libbpf.OBJECT,
) -> tuple[PacketFilter, FilterChoice]:
    """Attach the best filter that works here, closed. Return it with the reasons for the choice.

    `wanted` is the farm file's word: auto, xdp, tc or nfqueue. The tables are configured before the filter reads them,
    so a filter that replaces one left by a killed process lets nothing through. What the kernel's verifier says of a
    program goes to `tell` at level debug. Raise FilterError with all reasons if no filter works.
    """
    passed_over: list[PassedOver] = []
    facts = read_interface(interface)
    for kind, why in candidates(wanted, facts):
        try:
            chosen = _make(kind, settings, interface, record, object_file)
            tables = Tables(chosen.memory)
            tables.configure(settings, virtual_mac(settings))
            # A filter that does not know its own MAC takes every frame to be another machine's and passes it.
            tables.set_macs(facts.mac, {})
            chosen.attach()
        except FilterError as error:
            passed_over.append(PassedOver(kind=kind, problem=error.problem, remedy=error.remedy))
            for line in error.last_words:
                tell("debug", f"the kernel on the filter {kind.value}: {line}")
            continue
        return chosen, FilterChoice(kind=kind, why=why, passed_over=tuple(passed_over))
    raise FilterError(problems_of(passed_over), remedies_of(passed_over))


def another_filter(
    kind: FilterKind,
    settings: LayerTwoSettings,
    interface: str,
    record: Record,
    *,
    mac: bytes,
    object_file: Path = libbpf.OBJECT,
) -> PacketFilter:
    """Return a filter of a kind that is in use, with tables of its own, closed and not attached yet.

    Its `attach` puts it in the place of the former one in one step, so that each packet meets one of the two. Raise
    FilterError if it cannot be loaded.
    """
    made = _make(kind, settings, interface, record, object_file)
    tables = Tables(made.memory)
    tables.configure(settings, virtual_mac(settings))
    tables.set_macs(mac, {})
    try:
        made.prepare()
    except FilterError:
        made.retire()
        raise
    return made


def _make(
    kind: FilterKind, settings: LayerTwoSettings, interface: str, record: Record, object_file: Path
) -> PacketFilter:
    match kind:
        case FilterKind.XDP | FilterKind.XDP_GENERIC:
            loaded = libbpf.BpfFilter([libbpf.XDP], path=object_file)
            generic = kind is FilterKind.XDP_GENERIC
            program = loaded.programs[libbpf.XDP]
            return XdpFilter(
                program, loaded.memory, generic=generic, interface=interface, record=record, close=loaded.close
            )
        case FilterKind.TC:
            loaded = libbpf.BpfFilter([libbpf.TC], path=object_file)
            program = loaded.programs[libbpf.TC]
            return TcFilter(
                program,
                loaded.memory,
                interface=interface,
                farm=settings.farm,
                record=record,
                close=loaded.close,
            )
        case FilterKind.NFQUEUE:
            # It needs netfilterqueue, an optional package that nobody else should have to install.
            from l2mode.kernel.packet_queue import QueueFilter  # noqa: PLC0415

            return QueueFilter(settings, interface, record)
        case _:
            assert_never(kind)
