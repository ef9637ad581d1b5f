"""How many connections to the application are left, as the kernel counts them.

Only Linux tells (proc(5), /proc/net/tcp); elsewhere, and for an application that is not on this machine or in this
network namespace, the answer is None: unknown. It is asked for a few times a second while a node drains, and never
otherwise.

A connection from this very machine shows twice, once at each end. So it can be told whose it is: this daemon's own, as
those of its checks are, or nobody's any more. Neither is a client.
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

from hcsidecar.core.farmfile.settings import AnyCheck, L2Table, PortCheck
from hcsidecar.core.farmfile.values import is_ipv6

_PROC = Path("/proc/net")
_LISTEN = b"0A"
_CLOSE_WAIT = b"08"
_IN_USE: Final = {
    b"01",  # ESTABLISHED
    _CLOSE_WAIT,  # the client has said all that it wants, the answer may be on its way
    b"04",  # FIN_WAIT1, and the next two: closed here, but the client has not acknowledged all of the answer
    b"09",  # LAST_ACK
    b"0B",  # CLOSING
}
"Connections that somebody still waits for. FIN_WAIT2 and TIME_WAIT have delivered everything."

_LOOPBACK: Final = {"127.0.0.1", "::1"}
_NOBODY: Final = b"0"
"Inode of a socket that its process has closed."


class _Served(NamedTuple):
    """The application's end of a connection, or where it listens; all as the kernel prints it."""

    address: bytes
    port: bytes
    remote: bytes
    remote_port: bytes
    state: bytes


class _Calling(NamedTuple):
    """The other end of such a connection, where it is on this machine too."""

    address: bytes
    port: bytes
    remote: bytes
    remote_port: bytes
    inode: bytes


class ConnectionCounter:
    """Counts the connections to the ports that the checks watch, and to those that are shared at the virtual IPs.

    A check often knocks at an address that no client uses. So a port counts with all local addresses when its check is
    on 127.0.0.1 or ::1, or when something listens there on all addresses; else with the address of the check alone,
    since other addresses may be other nodes on this machine. Without either there is no port to wait for.
    """

    def __init__(
        self,
        checks: Iterable[AnyCheck],
        l2: L2Table | None = None,
        *,
        proc: Path = _PROC,
        own: Callable[[], Container[int]] | None = None,
    ) -> None:
        self._endpoints = frozenset(_checked_ports(checks) + _shared_ports(l2))
        self._proc = proc
        self._own = own or own_sockets

    async def count(self) -> Mapping[int, int] | None:
        """Give the number of connections by port; None when it cannot be told. Works in a thread of its own."""
        return await asyncio.to_thread(self._count)

    def _count(self) -> Mapping[int, int] | None:
        local = [(address, port) for address, port in self._endpoints if _is_local(address)]
        if not local:
            return None if self._endpoints else {}
        try:
            served, calling = self._read({port for _, port in local})
            own = self._own()
        except OSError:  # not for want of a descriptor either is the answer "nobody"
            return None
        wide = {int(each.port, 16) for each in served if each.state == _LISTEN and _is_wildcard(_address(each.address))}
        wide |= {port for address, port in local if address in _LOOPBACK}
        in_use = [each for each in served if each.state in _IN_USE]
        no_clients = _no_clients(in_use, calling, own)
        counted = Counter(each.port for each in in_use if each not in no_clients and self._is_ours(each, wide))
        return {port: counted[b"%04X" % port] for _, port in local}

    def _is_ours(self, each: _Served, wide: Container[int]) -> bool:
        """Tell whether a connection is to this node's application, and not to another's on this machine."""
        port = int(each.port, 16)
        return port in wide or (_address(each.address), port) in self._endpoints

    def _read(self, ports: set[int]) -> tuple[list[_Served], list[_Calling]]:
        """Give every TCP socket on these local ports, and every one that is connected to them. Raises OSError."""
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
            # A line at a time: a busy server has a hundred thousand of them.
            with path.open("rb") as lines:
                for line in lines:
                    if match := served_line.match(line):
                        served.append(_Served._make(match.groups()))
                    elif match := calling_line.match(line):
                        calling.append(_Calling._make(match.groups()))
        return served, calling


def _no_clients(in_use: Iterable[_Served], calling: Iterable[_Calling], own: Container[int]) -> set[_Served]:
    """Find the connections that are this daemon's own, or that nobody holds any more."""
    holders = {
        (_address(each.address), each.port, _address(each.remote), each.remote_port): each.inode for each in calling
    }
    ports = {each.port for each in calling}
    found = set()
    for each in in_use:
        # A busy server has clients at many addresses: look at their ports first.
        if each.remote_port in ports:
            ends = (_address(each.remote), each.remote_port, _address(each.address), each.port)
            if (inode := holders.get(ends)) is not None:
                if inode == _NOBODY or int(inode) in own:
                    found.add(each)
                continue
        # The kernel forgets an end that was closed a minute ago, whatever the other one does.
        if each.state == _CLOSE_WAIT and (each.remote == each.address or _address(each.remote) in _LOOPBACK):
            found.add(each)
    return found


def own_sockets() -> set[int]:
    """Give the inodes of this process's sockets; raises OSError."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed since
            about = path.stat()
            if stat.S_ISSOCK(about.st_mode):
                found.add(about.st_ino)
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
def _address(text: bytes) -> str:
    """Read an address as the kernel prints it: 32-bit words in hexadecimal, each in the machine's byte order."""
    words = (int(text[start : start + 8], 16) for start in range(0, len(text), 8))
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ipaddress.ip_address(packed)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
