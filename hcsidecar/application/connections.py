"""Counts the open connections to the application, with the kernel's tables.

Only Linux has the tables (/proc/net/tcp, proc(5)). Elsewhere, and for an application on another machine or in another
network namespace, the count is None: unknown. The daemon counts a few times a second while a node drains, and never
otherwise.

A connection from this machine itself is listed twice, once for each end. So its owner can be found: it may be this
daemon, for its checks, or nobody any more. Neither counts as a client.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
import stat
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from hcsidecar.core.farmfile.farm_file import AnyCheck, L2Table, PortCheck
from hcsidecar.core.farmfile.values import is_ipv6

_PROC = Path("/proc/net")
_LISTEN = b"0A"
_CLOSE_WAIT = b"08"
_IN_USE: Final = {
    b"01",  # ESTABLISHED
    _CLOSE_WAIT,  # the client has sent its whole request, and may still wait for the answer
    b"04",  # FIN_WAIT1, and the next two: closed here, but the client has not acknowledged the whole answer
    b"09",  # LAST_ACK
    b"0B",  # CLOSING
}
"States in which a client may still wait. In FIN_WAIT2 and TIME_WAIT everything has been delivered."

_LOOPBACK: Final = {"127.0.0.1", "::1"}
_NOBODY: Final = b"0"
"Inode of a socket that its process has closed."


class _Served(NamedTuple):
    """The application's end of a connection, or a listening socket; all fields as the kernel prints them."""

    address: bytes
    port: bytes
    remote: bytes
    remote_port: bytes
    state: bytes


class _Calling(NamedTuple):
    """The client's end of a connection, if it is on this machine too."""

    address: bytes
    port: bytes
    remote: bytes
    remote_port: bytes
    inode: bytes


class ConnectionCounter:
    """Counts the connections to the ports of the checks, and to the shared ports of the virtual IPs.

    A check often connects to an address that no client uses. So a port counts on all local addresses if its check is on
    127.0.0.1 or ::1, or if something listens on all addresses. Otherwise it counts on the address of the check only,
    because other addresses may belong to other nodes on this machine. Other ports do not count.
    """

    def __init__(
        self,
        checks: Iterable[AnyCheck],
        l2: L2Table | None = None,
        *,
        proc: Path = _PROC,
        own: Callable[[], Container[int]] | None = None,
    ) -> None:
        self.reconfigure(checks, l2)
        self._proc = proc
        self._own = own or own_sockets

    def reconfigure(self, checks: Iterable[AnyCheck], l2: L2Table | None) -> None:
        """Count connections to the ports of these tables from the next count on."""
        self._endpoints = frozenset(_checked_ports(checks) + _shared_ports(l2))

    async def count(self) -> Mapping[int, int] | None:
        """Return the number of connections by port; None if it is unknown. Works in a thread of its own."""
        return await asyncio.to_thread(self._count)

    def _count(self) -> Mapping[int, int] | None:
        local = [(address, port) for address, port in self._endpoints if _is_local(address)]
        if not local:
            return None if self._endpoints else {}
        try:
            served, calling = self._read({port for _, port in local})
            own = self._own()
        except OSError:  # unknown, for example without a descriptor; never "no connections"
            return None
        wide = {int(each.port, 16) for each in served if each.state == _LISTEN and _is_wildcard(_address(each.address))}
        wide |= {port for address, port in local if address in _LOOPBACK}
        in_use = [each for each in served if each.state in _IN_USE]
        no_clients = _not_from_clients(in_use, calling, own)
        counted = Counter(each.port for each in in_use if each not in no_clients and self._is_ours(each, wide))
        return {port: counted[b"%04X" % port] for _, port in local}

    def _is_ours(self, each: _Served, wide: Container[int]) -> bool:
        """Return whether a connection is to this node's application, and not to that of another node here."""
        port = int(each.port, 16)
        return port in wide or (_address(each.address), port) in self._endpoints

    def _read(self, ports: set[int]) -> tuple[list[_Served], list[_Calling]]:
        """Return the TCP sockets on these local ports, and those connected to these ports. Raise OSError."""
        wanted = "|".join(f"{port:04X}" for port in ports)
        served_line = re.compile(
            rf" *\d+: ([0-9A-F]{{8,32}}):({wanted}) ([0-9A-F]{{8,32}}):([0-9A-F]{{4}}) ([0-9A-F]{{2}}) ".encode()
        )
        calling_line = re.compile(
            rf" *\d+: ([0-9A-F]{{8,32}}):([0-9A-F]{{4}}) ([0-9A-F]{{8,32}}):({wanted}) "
            # State, queues, timer, retransmissions, user, time-outs.
            r"(?:\S+ +){6}(\d+) ".encode()
        )
        served, calling = [], []
        for name in ("tcp", "tcp6"):
            path = self._proc / name
            if name == "tcp6" and not path.exists():
                continue  # a kernel without IPv6
            # Line by line, because a busy server has a hundred thousand of them.
            with path.open("rb") as lines:
                for line in lines:
                    if match := served_line.match(line):
                        served.append(_Served._make(match.groups()))
                    elif match := calling_line.match(line):
                        calling.append(_Calling._make(match.groups()))
        return served, calling


def _not_from_clients(in_use: Iterable[_Served], calling: Iterable[_Calling], own: Container[int]) -> set[_Served]:
    """Return the connections that are this daemon's own, or whose other end has no owner any more."""
    holders = {
        (_address(each.address), each.port, _address(each.remote), each.remote_port): each.inode for each in calling
    }
    ports = {each.port for each in calling}
    found = set()
    for each in in_use:
        # Compare the ports first: a busy server has clients at many addresses.
        if each.remote_port in ports:
            ends = (_address(each.remote), each.remote_port, _address(each.address), each.port)
            if (inode := holders.get(ends)) is not None:
                if inode == _NOBODY or int(inode) in own:
                    found.add(each)
                continue
        # A minute after an end was closed the kernel no longer lists it, whatever the other end does.
        if each.state == _CLOSE_WAIT and (each.remote == each.address or _address(each.remote) in _LOOPBACK):
            found.add(each)
    return found


def own_sockets() -> set[int]:
    """Return the inodes of this process's sockets. Raise OSError."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            about = path.stat()
            if stat.S_ISSOCK(about.st_mode):
                found.add(about.st_ino)
    return found


def _checked_ports(checks: Iterable[AnyCheck]) -> list[tuple[str, int]]:
    """Return the checked ports of the application, each with its address."""
    return [(check.address, check.port) for check in checks if isinstance(check, PortCheck) and check.when == "both"]


def _shared_ports(l2: L2Table | None) -> list[tuple[str, int]]:
    """Return the shared TCP ports, each with its virtual IPs."""
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
    """Return whether this machine has an address; nothing is sent."""
    if ipaddress.ip_address(address).is_loopback:
        return True
    try:
        with socket.socket(socket.AF_INET6 if is_ipv6(address) else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Binding would prove nothing if ip_nonlocal_bind is set. But the kernel connects to an address of this
            # machine from that same address.
            probe.connect((address, 9))
            return bool(probe.getsockname()[0] == address)
    except OSError:
        return False


def _is_wildcard(address: str) -> bool:
    return address in ("0.0.0.0", "::")


@lru_cache(maxsize=256)  # a busy server has many connections, but few addresses
def _address(text: bytes) -> str:
    """Parse an address as the kernel prints it: 32-bit words in hexadecimal, each in the machine's byte order."""
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
