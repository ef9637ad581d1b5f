"""Looks for whatever on this machine may interfere with virtual IPs, for `hcsidecar l2-check`; changes nothing."""

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from l2mode.core.filters import FILTER_NAME, ahead_of
from l2mode.core.interface import ARP_SETTINGS, LOOPBACK
from l2mode.core.interface_kinds import in_the_same_network
from l2mode.core.settings import VirtualIp
from l2mode.core.survey import Finding, Surroundings, findings
from l2mode.core.verdict import Delivery
from l2mode.kernel import sysctls
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import read_addresses, read_interface
from l2mode.kernel.netlink import route
from l2mode.kernel.programs import at_tcx_ingress, describe, name_of
from l2mode.kernel.tc import filters_on
from l2mode.kernel.xdp import program_at

_NET: Final = Path("/proc/sys/net")
_BRIDGE_SETTINGS: Final = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables", "bridge-nf-call-arptables")
_AFTER_ALL: Final = 1 << 16
"A priority after every filter."


def survey(interface: str, vips: Sequence[VirtualIp], delivery: Delivery) -> list[Finding]:
    """Return what interferes with these virtual IPs on an interface, and what is right.

    Must not be called on the thread of a running event loop. Raise OSError if the interface goes away meanwhile.
    """
    try:
        facts = read_interface(interface)
    except FilterError as error:
        return [Finding(level="error", message=error.problem, remedy=error.remedy)]
    found = Surroundings(
        interface=facts,
        delivery=delivery,
        loopback_up=read_interface(LOOPBACK).up,
        addresses=read_addresses(),
        arp={
            each: {name: sysctls.effective(each, name) for name in ARP_SETTINGS} for each in in_the_same_network(facts)
        },
        rp_filter=sysctls.effective(interface, "rp_filter"),
        default_interface=_default_interface(),
        without_ipv6=[name for name in (interface, LOOPBACK) if _is_set(f"ipv6/conf/{name}/disable_ipv6")],
        ahead=_ahead(facts.index),
        bridge_netfilter=[name for name in _BRIDGE_SETTINGS if _is_set(f"bridge/{name}")],
        promiscuous=_is_promiscuous(facts.index),
    )
    return list(findings(found, vips))


def _ahead(index: int) -> list[str]:
    """Return a description of what sees a packet before our filter; of all that sees it if our filter is absent."""
    xdp = program_at(index)
    if xdp is not None and name_of(xdp).startswith(FILTER_NAME):
        return []
    rows = filters_on(index)
    ours = [row.priority for row in rows if row.name.startswith(FILTER_NAME)]
    return [
        *([f"XDP {describe(xdp)}"] if xdp is not None else []),
        *(f"tcx {describe(number)}" for number in at_tcx_ingress(index)),
        *ahead_of(rows, max(ours, default=_AFTER_ALL)),
    ]


def _default_interface() -> str | None:
    with route() as ip:
        indices = [row.get("oif") for row in ip.get_default_routes(family=socket.AF_INET)]
    return socket.if_indextoname(indices[0]) if indices and indices[0] else None


def _is_promiscuous(index: int) -> bool:
    with route() as ip:
        (link,) = ip.link("get", index=index)
    return bool(link.get("promiscuity"))


def _is_set(setting: str) -> bool:
    """Return whether a switch below /proc/sys/net is on; one that this kernel does not have is off."""
    try:
        return (_NET / setting).read_text(encoding="ascii").strip() != "0"
    except FileNotFoundError:
        return False
