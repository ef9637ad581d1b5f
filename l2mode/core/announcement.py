"""What a node announces to the others about its buckets, with each heartbeat."""

from typing import NamedTuple

from l2mode.core.transit import View


class Announcement(NamedTuple):
    """What the latest heartbeat of a node that is heard says."""

    name: str
    mac: bytes
    "The MAC of its interface in the virtual IPs' network; empty if it runs without layer-2 mode."
    dirty: bool
    "It may hold connections in buckets that it does not own."
    dirty_buckets: bytes
    "In which ones at most, one bit per bucket; empty: in any, if it is dirty."
    view: View
    "The view that it has adopted; (): it takes no share."
    claimed: bool
    "It has claimed what that view gives it."
    settings: bytes = b""
    "Digest of the settings by which it divides the traffic into share groups."
    would_take: bool = False
    "It wants a share and has a power, whether or not it has a view yet."
