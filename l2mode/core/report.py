"""The document about layer-2 mode on this node (`l2mode.core.documents.LayerTwoReport`), built from its parts."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from l2mode.core.conflicts import Conflict
from l2mode.core.documents import (
    FilterStatus,
    LayerTwoReport,
    PacketCount,
    ShareStatus,
    UnusableFilter,
    VipConflict,
    VipStatus,
)
from l2mode.core.filters import FilterChoice
from l2mode.core.handover import Handover
from l2mode.core.oddities import odd_reasons
from l2mode.core.reasons import Reason
from l2mode.core.settings import LayerTwoSettings, VirtualIp


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterReport:
    """The filter in use, and its counters."""

    choice: FilterChoice
    warnings: tuple[str, ...]
    interface: str
    mac: bytes
    "The MAC of the interface."
    packets: Mapping[Reason, int]
    "Packets to the VIPs since the filter was attached, by what became of them."


def layer_two_document(
    handover: Handover,
    settings: LayerTwoSettings,
    used: FilterReport,
    *,
    virtual_mac: bytes | None,
    cut_off: Collection[str],
    lasting: Collection[Reason],
    conflicts: Collection[Conflict],
    now: float,
) -> LayerTwoReport:
    """Return the document. `virtual_mac` and `cut_off` are for flooded delivery.

    `cut_off` has the nodes that the switch does not flood to, `lasting` the reasons that should not occur and persist,
    and `conflicts` the VIPs that other machines use.
    """
    macs = {neighbour.name: neighbour.mac for neighbour in handover.neighbours} | {settings.me: used.mac}
    fractions = handover.fractions(now=now)
    odd = odd_reasons(settings.delivery)
    return LayerTwoReport(
        farm=settings.farm,
        node=settings.me,
        view=tuple(name for name, _ in handover.view),
        filter=_filter(used),
        interface=used.interface,
        macs={name: mac.hex(":") for name, mac in sorted(macs.items()) if mac},
        delivery=settings.delivery.value,
        lease_open=now < handover.lease,
        dirty=handover.dirty,
        dirty_members=tuple(neighbour.name for neighbour in handover.neighbours if neighbour.dirty),
        vips=tuple(_vip(vip, handover, macs, virtual_mac) for vip in settings.vips),
        shares=tuple(
            ShareStatus(
                name=group.name,
                protocol=group.protocol.value,
                ports=group.ports,
                by=group.by.value,
                mine=handover.mine(index).bit_count(),
                pending=handover.pending(index).bit_count(),
                fraction=round(fractions[index], 4),
            )
            for index, group in enumerate(settings.groups)
        ),
        packets=tuple(
            PacketCount(
                name=reason.name.lower(),
                action=reason.action.value,
                text=reason.text,
                odd=reason in odd,
                persists=reason in lasting,
                count=count,
            )
            for reason, count in used.packets.items()
        ),
        seen=packets_seen(used.packets),
        cut_off=tuple(sorted(cut_off)),
        conflicts=tuple(VipConflict(vip=str(each.vip), mac=each.mac.hex(":"), text=str(each)) for each in conflicts),
    )


def packets_seen(counters: Mapping[Reason, int]) -> int:
    """Return the number of packets that clients sent to the VIPs: in flooded delivery the same at every node."""
    return sum(count for reason, count in counters.items() if reason is not Reason.NEIGHBOUR_DISCOVERY)


def _filter(used: FilterReport) -> FilterStatus:
    choice = used.choice
    return FilterStatus(
        name=choice.kind.value,
        why=choice.why,
        warnings=used.warnings,
        degraded=choice.degraded,
        fall_back=choice.fall_back,
        remedy=choice.remedy,
        passed_over=tuple(
            UnusableFilter(name=each.kind.value, problem=each.problem, remedy=each.remedy)
            for each in choice.passed_over
        ),
    )


def _vip(vip: VirtualIp, handover: Handover, macs: Mapping[str, bytes], virtual_mac: bytes | None) -> VipStatus:
    """Return the node that answers for a VIP, and its MAC; in flooded delivery every node answers."""
    director = handover.director(vip.packed) if virtual_mac is None else None
    mac = macs.get(director or "") if virtual_mac is None else virtual_mac
    return VipStatus(address=str(vip), director=director, mac=mac.hex(":") if mac else None)
