"""Tells what the kernel's network looks like, in lines for a person: for `hcsidecar snapshot`; changes nothing.

Must not be called on the thread of a running event loop. Everything raises OSError if the kernel refuses.
"""

import socket
import struct
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from l2mode.core.filters import FILTER_NAME
from l2mode.kernel.interface import index_if_there
from l2mode.kernel.netlink import route
from l2mode.kernel.netlink_messages import DONE, DUMP, ERROR, HEADER, RECEIVE_SIZE, message, messages
from l2mode.kernel.programs import at_tcx_ingress, describe
from l2mode.kernel.tc import filters_on
from l2mode.kernel.xdp import program_at

MOST: Final = 2000
"Lines of each kind."
_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6)
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_ALL_STATES: Final = 0xFFF
"In <linux/inet_diag.h>."
_REQUEST: Final = struct.Struct("=BBBxI48x")
_STATES: Final = (
    *("?", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"),
    *("CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"),
)
"By their numbers in the kernel (net/tcp_states.h)."
_NEIGHBOUR_STATES: Final = {1: "incomplete", 2: "reachable", 4: "stale", 8: "delay", 16: "probe", 32: "failed"}


def links() -> list[str]:
    """Return the interfaces."""
    with route() as ip:
        return [
            f"{link.get('ifname')}: {link.get('state')}, MTU {link.get('mtu')}, {link.get('address') or 'no address'}"
            f"{', promiscuous' if link.get('promiscuity') else ''}"
            for link in _some(ip.get_links())
        ]


def addresses() -> list[str]:
    """Return the addresses of the interfaces."""
    with route() as ip:
        names = _names(ip)
        return [
            f"{names.get(row['index'], row['index'])}: {row.get('address')}/{row['prefixlen']}"
            for row in _some(ip.get_addr())
        ]


def routes() -> list[str]:
    """Return the routes of both families."""
    with route() as ip:
        names = _names(ip)
        return [_route(row, names) for family in _FAMILIES for row in _some(ip.get_routes(family=family))]


def neighbours() -> list[str]:
    """Return whom the machine knows on its networks."""
    with route() as ip:
        names = _names(ip)
        return [
            f"{row.get('dst')} {row.get('lladdr') or '-'} {names.get(row['ifindex'], row['ifindex'])} "
            f"{_NEIGHBOUR_STATES.get(row['state'], row['state'])}"
            for family in _FAMILIES
            for row in _some(ip.get_neighbours(family=family))
            if row.get("dst")
        ]


def filters(interface: str) -> list[str]:
    """Return the programs and filters at the ingress of an interface."""
    index = index_if_there(interface)
    if index is None:
        return [f"there is no interface {interface}"]
    xdp = program_at(index)
    return [
        f"XDP: {describe(xdp) if xdp is not None else 'none'}",
        *(f"tcx: {describe(number)}" for number in at_tcx_ingress(index)),
        *(
            f"tc: priority {row.priority}, {row.kind} {row.name}{' (ours)' if row.name.startswith(FILTER_NAME) else ''}"
            for row in filters_on(index)
        ),
    ]


def sockets_by_port() -> list[str]:
    """Return how many TCP sockets each port that something listens on has, by state, the busiest first."""
    counts: Counter[tuple[int, int]] = Counter()
    for family in _FAMILIES:
        counts.update(_tcp_sockets(family))
    listened = {port for port, state in counts if _STATES[state] == "LISTEN"}
    by_port = {port: {state: counts[port, state] for state in range(len(_STATES))} for port in sorted(listened)}
    busiest = sorted(by_port.items(), key=lambda item: -sum(item[1].values()))
    return [
        f"port {port}: {', '.join(f'{count} {_STATES[state]}' for state, count in states.items() if count)}"
        for port, states in busiest[:MOST]
    ]


def _tcp_sockets(family: int) -> Iterator[tuple[int, int]]:
    """Yield local port and state of every TCP socket."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ALL_STATES)
        netlink.send(message(_SOCK_DIAG_BY_FAMILY, DUMP, request))
        while True:
            answer = netlink.recv(RECEIVE_SIZE)
            for kind, at, _ in messages(answer):
                if kind in (DONE, ERROR):
                    return
                state = answer[at + HEADER.size + 1]
                (port,) = struct.unpack_from("!H", answer, at + HEADER.size + 4)
                yield port, state if state < len(_STATES) else 0


def _route(row: Any, names: dict[int, str]) -> str:
    where = f"{row.get('dst')}/{row['dst_len']}" if row.get("dst") else "default"
    via = f" via {row.get('gateway')}" if row.get("gateway") else ""
    source = f" from {row.get('prefsrc')}" if row.get("prefsrc") else ""
    interface = row.get("oif")
    return f"{where}{via} on {names.get(interface, interface)}{source}, table {row.get('table')}"


def _names(ip: Any) -> dict[int, str]:
    return {link["index"]: link.get("ifname") for link in ip.get_links()}


def _some(rows: Any) -> list[Any]:
    return [row for row, _ in zip(rows, range(MOST), strict=False)]
