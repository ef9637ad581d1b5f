"""The node whose filter is measured on the lane: one of three, in flooded delivery, that owns nothing or everything."""

from typing import Final

from benchmarks.lane import PORT, VIP, Lane
from l2mode.core.buckets import BUCKETS
from l2mode.core.frames import virtual_mac
from l2mode.core.reasons import Reason
from l2mode.core.settings import LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery

SETTINGS: Final = LayerTwoSettings(
    farm="bench",
    me="web1",
    nodes=("web1", "web2", "web3"),
    vips=(VIP,),
    groups=tuple(ShareGroup(name=each.name, protocol=each, ports=(PORT,)) for each in Protocol),
    seed=bytes(range(16)),
    delivery=Delivery.FLOODED,
)
VIRTUAL_MAC: Final = virtual_mac(SETTINGS)
ME, OTHER = 0, 1
"Numbers of nodes."
EXPECTED: Final = {ME: Reason.NEW, OTHER: Reason.NOT_MINE}
"What the filter says of each packet of the flood, by who owns all buckets."

_FOR_EVER: Final = (1 << 63) - 1
_MACS: Final = {1: bytes.fromhex("020000000002"), 2: bytes.fromhex("020000000003")}


def fill(tables: Tables, on: Lane, *, owner: int) -> None:
    """Give all buckets to one node, and an endless lease to this one."""
    tables.configure(SETTINGS, VIRTUAL_MAC)
    tables.set_macs(on.macs[:6], _MACS)
    tables.set_dirty(me=False, members={})
    tables.swap([bytes([owner]) * BUCKETS] * len(SETTINGS.groups), [ME])
    tables.set_lease(_FOR_EVER)
