"""What layer-2 mode tells of itself: the types of its documents, for those who make them and those who read them.

Keys are only ever added, and a reader passes over those that it does not know. What an older version does not say has
a default. Keys are told in the order in which they stand here.
"""

import msgspec


class UnusableFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter that was tried before the one in use, and does not work on this machine."""

    name: str
    problem: str
    remedy: str


class FilterStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The filter in use."""

    name: str
    "xdp, xdp generic, tc or nfqueue."
    why: str
    "Why it was one to try."
    warnings: tuple[str, ...] = ()
    "What may be in its way."
    degraded: bool = False
    "Only the filter in user space works on this machine, and nobody asked for that."
    fall_back: str | None = None
    "In place of which others, why, and what that costs; None when it was the first to try."
    remedy: str = ""
    "What makes the others work."
    passed_over: tuple[UnusableFilter, ...] = ()


class VipStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual IP, as one node sees it."""

    address: str
    director: str | None
    "Who answers for it; None in flooded delivery, and out of the view."
    mac: str | None
    "Where clients should know it."


class ShareStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A share group: how many of its buckets are open at one node, or wait to be."""

    name: str
    protocol: str = ""
    "tcp or udp."
    ports: tuple[int, ...] = ()
    by: str = ""
    "What decides who serves a client: address, port or datagram."
    mine: int
    "Buckets."
    pending: int
    "Buckets."
    fraction: float = 0.0
    "The part that is taken here now, 0 to 1; 0 when the lease is over."


class PacketCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often a node's filter did one thing for one reason."""

    name: str
    action: str
    "take, drop or another that the filter knows."
    text: str
    "The reason, in plain words."
    odd: bool = False
    "It should not happen."
    persists: bool = False
    "It should not, and goes on."
    count: int
    "Packets since the filter was attached."


class VipConflict(msgspec.Struct, frozen=True, kw_only=True):
    """A machine outside the farm uses a virtual IP, as one node has heard."""

    vip: str
    mac: str = ""
    text: str


class LayerTwoReport(msgspec.Struct, frozen=True, kw_only=True):
    """What layer-2 mode does on one node: `GET /api/v1/layer-two`. MACs are written 02:00:00:00:00:01."""

    farm: str
    node: str
    "Who tells it."
    view: tuple[str, ...]
    "Those that take shares together; empty when this node is out."
    filter: FilterStatus
    interface: str
    "That of the virtual IPs."
    macs: dict[str, str]
    "Of the nodes, as far as they are heard, and its own."
    delivery: str
    "directed or flooded."
    lease_open: bool
    "The filter may take packets."
    dirty: bool = False
    "Older connections in buckets of others live here."
    dirty_members: tuple[str, ...] = ()
    "Other nodes of which the same is known."
    vips: tuple[VipStatus, ...]
    shares: tuple[ShareStatus, ...]
    packets: tuple[PacketCount, ...] = ()
    "Packets to the virtual IPs, by what became of them."
    seen: int = 0
    "Packets of clients in all: in flooded delivery the same at every node."
    cut_off: tuple[str, ...] = ()
    "Nodes to which the switch does not flood, as far as this node can tell."
    conflicts: tuple[VipConflict, ...] = ()


class ShareExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a client's new connections or datagrams in one share group."""

    share: str
    protocol: str
    ports: tuple[int, ...]
    vips: tuple[str, ...]
    "Those of the client's family that the group is for, or the one that was asked for."
    by: str
    bucket: int | None
    "None: the question does not say enough to tell."
    owner: str | None
    phase: str | None
    "What the bucket is to this node: mine, pending or other."
    fraction: float
    "The part of the group's buckets that the owner has by this node's view, 0 to 1."
    may_hold: tuple[str, ...]
    "Nodes that may still hold older connections of the bucket: those that are dirty there, beside the owner."
    reason: str
    "One sentence."


class ClientExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes a client, as one node sees it: `GET /api/v1/layer-two/explain`."""

    farm: str
    node: str
    "Who tells it."
    view: tuple[str, ...]
    address: str
    "The client's."
    port: int | None
    "The client's; None: not asked for."
    vip: str | None
    "None: any."
    shares: tuple[ShareExplanation, ...]
    "One for each share group that the client can use."
