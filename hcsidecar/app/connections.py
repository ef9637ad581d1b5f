"""How many connections to the application are left, as the kernel counts them.

Only Linux tells (proc(5), /proc/net/tcp); elsewhere, and for an application that is not on this machine or in this
network namespace, the answer is None: unknown. It is asked for a few times a second while a node drains, and never
otherwise.
"""

import asyncio
import ipaddress
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from hcsidecar.core.settings import AnyCheck, L2Table, PortCheck
from hcsidecar.core.values import is_ipv6

_PROC = Path("/proc/net")
_LISTEN = b"0A"
_IN_USE: Final = {
    b"01",  # ESTABLISHED
    b"08",  # CLOSE_WAIT: the client has said all that it wants, the answer may be on its way
    b"04",  # FIN_WAIT1, and the next two: closed here, but the client has not acknowledged all of the answer
    b"09",  # LAST_ACK
    b"0B",  # CLOSING
}
"Connections that somebody still waits for. FIN_WAIT2 and TIME_WAIT have delivered everything."

_LOOPBACK: Final = {"127.0.0.1", "::1"}


class Connections:
    """Counts the connections to the ports that the checks watch, and to those that are shared at the virtual IPs.

    A check often knocks at an address that no client uses. So a port counts with all local addresses when its check is
    on 127.0.0.1 or ::1, or when something listens there on all addresses; else with the address of the check alone,
    since other addresses may be other nodes on this machine. Without either there is no port to wait for.
    """

    def __init__(self, checks: Iterable[AnyCheck], l2: L2Table | None = None, *, proc: Path = _PROC) -> None:
        self._endpoints = frozenset(_checked_ports(checks) + _shared_ports(l2))
        self._proc = proc

    async def count(self) -> Mapping[int, int] | None:
        """Give the number of connections by port; None when it cannot be told. Works in a thread of its own."""
        return await asyncio.to_thread(self._count)

    def _count(self) -> Mapping[int, int] | None:
        local = [(address, port) for address, port in self._endpoints if _is_local(address)]
        if not local:
            return None if self._endpoints else {}
        try:
            sockets = self._read({port for _, port in local})
        except OSError:
            return None
        wide = {port for address, port, state in sockets if state == _LISTEN and _is_wildcard(address)}
        wide |= {port for address, port in local if address in _LOOPBACK}
        in_use = Counter(
            port
            for address, port, state in sockets
            if state in _IN_USE and (port in wide or (address, port) in self._endpoints)
        )
        return {port: in_use[port] for _, port in local}

    def _read(self, ports: set[int]) -> list[tuple[str, int, bytes]]:
        """Give address, port and state of every TCP socket on these local ports. Raises OSError."""
        wanted = "|".join(f"{port:04X}" for port in ports)
        line_of_port = re.compile(
            rf" *\d+: ([0-9A-F]{{8,32}}):({wanted}) [0-9A-F]+:[0-9A-F]{{4}} ([0-9A-F]{{2}}) ".encode()
        )
        found = []
        for name in ("tcp", "tcp6"):
            path = self._proc / name
            if name == "tcp6" and not path.exists():
                continue  # a kernel without IPv6
            # A line at a time: a busy server has a hundred thousand of them.
            with path.open("rb") as lines:
                for line in lines:
                    if match := line_of_port.match(line):
                        address, port, state = match.groups()
                        found.append((_address(address.decode()), int(port, 16), state))
        return found


def _checked_ports(checks: Iterable[AnyCheck]) -> list[tuple[str, int]]:
    """Give the ports of the application that are checked, each with its address."""
    return [(check.address, check.port) for check in checks if isinstance(check, PortCheck) and check.when == "both"]


def _shared_ports(l2: L2Table | None) -> list[tuple[str, int]]:
    """Give the TCP ports that are shared, each with its virtual IPs."""
    if l2 is None:
        return []
    return [
        (vip.address, port)
        for share in l2.share
        for vip in l2.vip
        for port in share.ports
        if share.protocol == "tcp" and share.vip in (None, vip.address)
    ]


def _is_local(address: str) -> bool:
    """Tell whether an address is one of this machine's own; nothing is sent."""
    if ipaddress.ip_address(address).is_loopback:
        return True
    try:
        with socket.socket(socket.AF_INET6 if is_ipv6(address) else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Binding would prove nothing where ip_nonlocal_bind is set. The kernel speaks to an address of its own
            # from that address.
            probe.connect((address, 9))
            return bool(probe.getsockname()[0] == address)
    except OSError:
        return False


def _is_wildcard(address: str) -> bool:
    return address in ("0.0.0.0", "::")


@lru_cache(maxsize=256)  # a busy server has many connections, but few addresses
def _address(text: str) -> str:
    """Read an address as the kernel prints it: 32-bit words in hexadecimal, each in the machine's byte order."""
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
