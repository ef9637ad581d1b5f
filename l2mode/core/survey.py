"""What in a machine's network interferes with its virtual IPs: judged here, read elsewhere."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import Final

from l2mode.core.conditions import why_no_carrier
from l2mode.core.interface import (
    ARP_SETTINGS,
    LOOPBACK,
    ConfiguredAddress,
    Interface,
    missing,
    obstacles,
)
from l2mode.core.interface_kinds import Fit, judge
from l2mode.core.settings import VirtualIp
from l2mode.core.verdict import Delivery

_LEVELS: Final = {Fit.RIGHT: "info", Fit.DOUBTFUL: "warning", Fit.REFUSED: "error"}
_STRICT: Final = 1
"Strict mode of rp_filter (RFC 3704). 2 is loose; if `all` and the interface have 1 and 2, the higher value counts."


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    level: str
    """`info`: right, or good to know; `warning`: may interfere; `error`: interferes.

    `unseen`: could not be checked.
    """
    message: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the kernel says of the network of this machine."""

    interface: Interface
    delivery: Delivery
    loopback_up: bool
    addresses: Sequence[ConfiguredAddress]
    arp: Mapping[str, Mapping[str, int]]
    "The effective values of the ARP settings, by interface: this one, and others in the same network."
    rp_filter: int
    "The effective value."
    default_interface: str | None
    "The interface through which packets to distant IPv4 clients leave."
    without_ipv6: Sequence[str]
    "Those of this interface and `lo` on which IPv6 is disabled."
    ahead: Sequence[str]
    "Programs and filters of others that see a packet before ours."
    bridge_netfilter: Sequence[str]
    "The bridge-nf-call-* settings that are on."
    promiscuous: bool


def findings(found: Surroundings, vips: Sequence[VirtualIp]) -> Iterator[Finding]:
    """Yield what interferes with these virtual IPs, and what is right."""
    name = found.interface.name
    yield from of_kind(found.interface, found.delivery)
    for obstacle in (*why_no_carrier(found.interface), *obstacles(vips, found.interface, found.addresses)):
        yield Finding(level="error", message=obstacle.problem, remedy=obstacle.remedy)
    if not found.loopback_up:
        yield Finding(level="error", message=f"{LOOPBACK} is down", remedy=f"ip link set {LOOPBACK} up")
    yield from _vips(found, vips)
    yield from _arp(found)
    yield from _return_path(found, vips)
    for what in found.ahead:
        message = f"{what} on {name} sees packets before the filter: what it lets through is not shared out"
        yield Finding(level="warning", message=message, remedy="let it ignore the virtual IPs, or run after the filter")
    if found.interface.kind == "bridge" and found.bridge_netfilter:
        message = f"{' and '.join(found.bridge_netfilter)}: netfilter and conntrack see packets before {name} does"
        remedy = "; ".join(f"sysctl -w net/bridge/{setting}=0" for setting in found.bridge_netfilter)
        yield Finding(level="warning", message=message, remedy=remedy)
    if found.promiscuous:
        yield Finding(level="info", message=f"{name} is promiscuous: it hears what is for other machines too")


def of_kind(interface: Interface, delivery: Delivery) -> Iterator[Finding]:
    """Yield how well the interface, by its kind, suits the delivery."""
    for judgement in judge(interface, delivery):
        yield Finding(level=_LEVELS[judgement.fit], message=judgement.text, remedy=judgement.remedy or None)


def _vips(found: Surroundings, vips: Sequence[VirtualIp]) -> Iterator[Finding]:
    absent = missing(vips, found.addresses)
    for vip in vips:
        if vip in absent:
            remedy = "start hcsidecar here, which puts it there and keeps it"
            yield Finding(level="error", message=f"{vip} is not on {LOOPBACK}: nothing here accepts it", remedy=remedy)
        else:
            yield Finding(level="info", message=f"{vip} is on {LOOPBACK}")
        if not _is_on_link(vip, found):
            message = f"{vip} is in no network of {found.interface.name}: clients there ask their router for it"
            yield Finding(level="warning", message=message, remedy=f"route it to {found.interface.name} at the router")
    if found.without_ipv6 and any(vip.version == 6 for vip in vips):  # noqa: PLR2004 - IPv6
        remedy = "; ".join(f"sysctl -w net/ipv6/conf/{where}/disable_ipv6=0" for where in found.without_ipv6)
        message = f"IPv6 is switched off on {' and '.join(found.without_ipv6)}"
        yield Finding(level="error", message=message, remedy=remedy)


def _is_on_link(vip: VirtualIp, found: Surroundings) -> bool:
    return any(
        place.interface == found.interface.name
        and place.address.version == vip.version
        and vip in ip_interface((place.address, place.prefix_length)).network
        for place in found.addresses
    )


def _arp(found: Surroundings) -> Iterator[Finding]:
    for interface, settings in found.arp.items():
        low = {name: least for name, least in ARP_SETTINGS.items() if settings[name] < least}
        values = " and ".join(f"{name} = {value}" for name, value in settings.items())
        values += "" if interface == found.interface.name else f" of {interface}, which is in the same network"
        if not low:
            yield Finding(level="info", message=f"{values}: the kernel does not speak for the virtual IPs")
            continue
        remedy = "; ".join(f"sysctl -w net/ipv4/conf/{interface}/{name}={least}" for name, least in low.items())
        yield Finding(level="error", message=f"{values}: the kernel itself speaks for the virtual IPs", remedy=remedy)


def _return_path(found: Surroundings, vips: Sequence[VirtualIp]) -> Iterator[Finding]:
    name, default = found.interface.name, found.default_interface
    if found.rp_filter != _STRICT or default in {None, name} or all(vip.version != 4 for vip in vips):  # noqa: PLR2004
        return
    yield Finding(
        level="warning",
        message=f"rp_filter = 1: packets that come in at {name} from clients behind {default} are dropped",
        remedy=f"sysctl -w net/ipv4/conf/{name}/rp_filter=2",
    )
