"""The settings of layer-2 mode as plain data: the nodes, the virtual IPs, and the traffic that is shared."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address

from l2mode.core.verdict import Delivery

VirtualIp = IPv4Address | IPv6Address


class Protocol(Enum):
    """The transport protocol of a share group's traffic."""

    TCP = "tcp"
    UDP = "udp"


class By(Enum):
    """What decides which node serves a client."""

    ADDRESS = "address"
    PORT = "port"
    "The client's address and source port."
    DATAGRAM = "datagram"
    "Each datagram separately: the address and the IP identification (IPv4) or the source port (IPv6)."


class Unmatched(Enum):
    """What becomes of traffic to a virtual IP that matches no share."""

    DROP = "drop"
    DIRECTOR = "director"
    "The node that answers for the virtual IP takes it."


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareGroup:
    """Traffic that the nodes divide among themselves."""

    name: str
    protocol: Protocol
    ports: tuple[int, ...]
    vip: VirtualIp | None = None
    "The one virtual IP that the group is for; None: all of them."
    by: By = By.ADDRESS


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerTwoSettings:
    """The same on every node except for `me`. Groups and virtual IPs are numbered in this order."""

    farm: str
    me: str
    nodes: tuple[str, ...]
    "All names, in ascending order: a node's index here is its number in the filter's tables."
    vips: tuple[VirtualIp, ...]
    groups: tuple[ShareGroup, ...]
    seed: bytes
    "16 secret bytes, the key of the hash of clients."
    delivery: Delivery = Delivery.DIRECTED
    unmatched: Unmatched = Unmatched.DROP
    digest: bytes = b""
    "Of what divides the traffic: nodes take buckets together only if it is the same."

    @property
    def my_index(self) -> int:
        """This node's number in the filter's tables."""
        return self.nodes.index(self.me)
