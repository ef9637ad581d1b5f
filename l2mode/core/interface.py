"""Whether an interface can carry the virtual IPs, and what must be added to it: decided here, changed elsewhere.

The virtual IPs are on `lo`: the network stack accepts their packets, and arp_ignore and arp_announce keep the interface
from ever answering for them (the direct-routing recipe of Linux Virtual Server). Which node answers ARP is the farm's
decision.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from l2mode.core.settings import VirtualIp

LOOPBACK: Final = "lo"

ARP_SETTINGS: Final = {"arp_ignore": 1, "arp_announce": 2}
"""The lowest values that keep the kernel from speaking for an address on `lo`.

With arp_announce = 1 the address still leaks as the sender of ARP requests. See ip-sysctl.rst of the kernel.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface, as it was when it was read."""

    name: str
    index: int
    mac: bytes
    "Empty if it has none."
    mtu: int
    up: bool
    loopback: bool
    ethernet: bool
    kind: str | None
    "The kind of software device: veth, bridge, bond, vlan and so on; None for a device with a driver."
    driver: str
    "Name of the driver; empty if there is none to name."
    mode: str = ""
    "The mode, for a kind that has several: `bridge` of a macvlan, `active-backup` of a bond."
    port_of: str | None = None
    "The bridge, bond, team or VRF that it belongs to."
    port_kind: str = ""
    "The kind of that device."
    wireless: bool = False
    virtual_function: bool = False
    "It is one of several functions that a card offers (SR-IOV)."
    without_arp: bool = False
    mac_of_active_port: bool = False
    "It is a bond that takes over the MAC of each port that becomes the active one."
    carrier: bool = True
    "Something is at the other end, as far as the driver can tell."
    lower: "Interface | None" = None
    "The interface that it stands on, as for a VLAN; None also if that is in another network namespace."


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAddress:
    """An address of this machine."""

    interface: str
    address: VirtualIp
    prefix_length: int
    usable_as_source: bool
    "It has global scope, and no duplicate was found."


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A reason why a node cannot serve, and what the operator can do about it."""

    problem: str
    remedy: str
    passing: bool = False
    "It ends without intervention if the network is only slow to come up."


def obstacles(
    vips: Sequence[VirtualIp], interface: Interface, addresses: Sequence[ConfiguredAddress]
) -> Iterator[Obstacle]:
    """Yield everything that keeps the interface from carrying the virtual IPs."""
    name = interface.name
    if interface.loopback or not interface.ethernet:
        what = "the loopback" if interface.loopback else "no Ethernet interface"
        yield Obstacle(f"{name} is {what}: nobody can ask it for a MAC", "name another interface in [l2] interface")
        return
    if not interface.up:
        yield Obstacle(f"{name} is down", f"ip link set {name} up", passing=True)
    for version in sorted({vip.version for vip in vips}):
        if not any(_is_own(address, name, version, vips) for address in addresses):
            yield Obstacle(
                f"{name} has no IPv{version} address of its own, so this machine would speak as the virtual IP",
                f"ip address add ADDRESS/LENGTH dev {name}",
                passing=True,
            )
    for vip in vips:
        for place in addresses:
            if place.address == vip and place.interface != LOOPBACK:
                yield Obstacle(
                    f"the virtual IP {vip} is an address of {place.interface} already, which answers ARP for it",
                    f"ip address del {vip}/{place.prefix_length} dev {place.interface}",
                )


def missing(vips: Iterable[VirtualIp], addresses: Iterable[ConfiguredAddress]) -> tuple[VirtualIp, ...]:
    """Return the virtual IPs that are not on `lo`."""
    there = {address.address for address in addresses if address.interface == LOOPBACK}
    return tuple(vip for vip in vips if vip not in there)


def holder_of(address: VirtualIp, addresses: Iterable[ConfiguredAddress]) -> str | None:
    """Return the interface other than `lo` that holds an address of this machine; None if there is none."""
    for place in addresses:
        if place.address == address and place.interface != LOOPBACK:
            return place.interface
    return None


def _is_own(address: ConfiguredAddress, interface: str, version: int, vips: Iterable[VirtualIp]) -> bool:
    return (
        address.interface == interface
        and address.address.version == version
        and address.usable_as_source
        and address.address not in vips
    )
