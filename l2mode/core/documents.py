"""The types of the documents of layer-2 mode, for the code that makes them and the code that reads them.

Keys are only ever added, and a reader ignores keys that it does not know. A key that an older version does not send has
a default. Keys are encoded in the order in which they are listed here.
"""

import msgspec


class UnusableFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter that was tried before the one in use, and that does not work on this machine."""

    name: str
    problem: str
    remedy: str


class FilterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The filter in use."""

    name: str
    "xdp, xdp generic, tc or nfqueue."
    why: str
    "Why it was tried."
    warnings: tuple[str, ...] = ()
    "What may interfere with it."
    degraded: bool = False
    "Only the filter in user space works on this machine, and nobody asked for that one."
    fall_back: str | None = None
    "The filters that it replaces, why, and what that costs; None if it was the first one tried."
    remedy: str = ""
    "What would make the other filters work."
    passed_over: tuple[UnusableFilter, ...] = ()


class VipStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual IP as one node sees it."""

    address: str
    director: str | None
    "The node that answers for it; None in flooded delivery, and out of the view."
    mac: str | None
    "The MAC that clients should have for it."


class ShareStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A share group: the number of its buckets that this node owns, claimed or not."""

    name: str
    protocol: str = ""
    "tcp or udp."
    ports: tuple[int, ...] = ()
    by: str = ""
    "What decides which node serves a client: address, port or datagram."
    mine: int
    "Number of buckets."
    pending: int
    "Number of buckets."
    fraction: float = 0.0
    "The fraction that is taken here now, 0 to 1; 0 if the lease is over."


class PacketCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often a node's filter took one action for one reason."""

    name: str
    action: str
    "The filter's action: take, drop and so on."
    text: str
    "The reason, in plain words."
    odd: bool = False
    "Such packets should not occur."
    persists: bool = False
    "Such packets should not occur, and they keep coming."
    count: int
    "Packets since the filter was attached."


class VipConflict(msgspec.Struct, frozen=True, kw_only=True):
    """A machine outside the farm that uses a virtual IP, as one node has heard."""

    vip: str
    mac: str = ""
    text: str


class LayerTwoReport(msgspec.Struct, frozen=True, kw_only=True):
    """The state of layer-2 mode on one node: `GET /api/v1/layer-two`. MACs are written 02:00:00:00:00:01."""

    farm: str
    node: str
    "The node that reports."
    view: tuple[str, ...]
    "The nodes that take shares together; empty if this node is out."
    filter: FilterStatus
    interface: str
    "The interface of the virtual IPs."
    macs: dict[str, str]
    "The MACs of this node and of the nodes that it hears."
    delivery: str
    "directed or flooded."
    lease_open: bool
    "The filter may take packets."
    dirty: bool = False
    "This node holds older connections in buckets of others."
    dirty_members: tuple[str, ...] = ()
    "Other nodes that are known to do so."
    vips: tuple[VipStatus, ...]
    shares: tuple[ShareStatus, ...]
    packets: tuple[PacketCount, ...] = ()
    "Packets to the virtual IPs, by what became of them."
    seen: int = 0
    "Packets of clients in all: in flooded delivery the same number at every node."
    cut_off: tuple[str, ...] = ()
    "Nodes that the switch does not flood to, as far as this node can tell."
    conflicts: tuple[VipConflict, ...] = ()


class ShareExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a client's new connections or datagrams in one share group."""

    share: str
    protocol: str
    ports: tuple[int, ...]
    vips: tuple[str, ...]
    "The group's VIPs of the client's family, or the one that was asked about."
    by: str
    bucket: int | None
    "None: the question does not say enough to determine it."
    owner: str | None
    phase: str | None
    "The phase of the bucket on this node: mine, pending or other."
    fraction: float
    "The fraction of the group's buckets that the owner has by this node's view, 0 to 1."
    may_hold: tuple[str, ...]
    "Nodes other than the owner that are dirty in the bucket, and so may still hold older connections of it."
    reason: str
    "One sentence."


class ClientExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """The node that takes a client, as one node sees it: `GET /api/v1/layer-two/explain`."""

    farm: str
    node: str
    "The node that answers."
    view: tuple[str, ...]
    address: str
    "The client's address."
    port: int | None
    "The client's source port; None: not asked about."
    vip: str | None
    "None: any VIP."
    shares: tuple[ShareExplanation, ...]
    "One for each share group that the client can use."
