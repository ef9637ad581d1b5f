"""What a heartbeat tells layer-2 mode: the share of the node that sent it, by the settings of that node."""

from typing import NamedTuple

from l2mode.core.transit import View


class HeardShare(NamedTuple):
    """What the latest heartbeat of another node says of its share; `HeardNode` is what this node makes of it."""

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
