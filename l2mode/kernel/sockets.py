"""The TCP connections of this machine, from the kernel's table of sockets (netlink, sock_diag(7)).

A connection is a socket that neither listens nor is in TIME_WAIT; one that is being opened (SYN_RECV) counts. The small
remainder that the kernel keeps of a socket after the last close counts as TIME_WAIT, whichever state it has (FIN_WAIT2,
for example): the network stack would answer for it with a reset only.

Sockets of a listener on [::] have IPv4 clients as well, with addresses mapped to ::ffff:0:0/96 (RFC 4291).

pyroute2 supports sock_diag too, but a scan of 50,000 sockets must not keep the interpreter from sending heartbeats.
"""

import errno
import os
import socket
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import Final

from l2mode.core.buckets import BUCKETS
from l2mode.core.bulk_hashing import buckets_of
from l2mode.core.classify import Flow
from l2mode.core.settings import By, LayerTwoSettings, Protocol, VirtualIp
from l2mode.kernel.netlink_messages import (
    DONE,
    DUMP,
    ERROR,
    HEADER,
    RECEIVE_SIZE,
    attribute,
    error_number,
    message,
    messages,
)

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_INET_DIAG_REQ_BYTECODE: Final = 1
_JUMP: Final = 1
_LOCAL_ADDRESS: Final = 7
_ANY_PORT: Final = -1
_ANY_COOKIE: Final = 0xFFFFFFFF
_TIMER_OF_TIME_WAIT: Final = 3

# linux/tcp_states.h
_TIME_WAIT: Final = 6
_CLOSE: Final = 7
_LISTEN: Final = 10
_CONNECTIONS: Final = 0x1FFF & ~(1 << _TIME_WAIT | 1 << _CLOSE | 1 << _LISTEN)
"The states asked for. They include SYN_RECV (3) and the kernel's state for a handshake in progress (12)."

_REQUEST: Final = struct.Struct("=BBBxI2s2s16s16sIII")
"struct inet_diag_req_v2: family, protocol, extensions, states, local and remote port and address, interface, cookie."
_OPERATION: Final = struct.Struct("=BBH")
"struct inet_diag_bc_op: code, bytes to advance if true, bytes if false."
_CONDITION: Final = struct.Struct("=BBxxi")
"struct inet_diag_hostcond without the address: family, prefix length, port."
_PORTS_AND_ADDRESSES: Final = struct.Struct("2s2s16s16s")
"From struct inet_diag_msg: local port, remote port, local address, remote address; IPv4 is in the first 4 bytes."

_STATE_AT: Final = HEADER.size + 1
_TIMER_AT: Final = HEADER.size + 2
_PORTS_AT: Final = HEADER.size + 4
_IPV4_BYTES: Final = 4
_MAPPED: Final = bytes(10) + b"\xff\xff"
_UNUSED: Final = bytes(12)
"Padding after an IPv4 address, up to the length of an IPv6 address."


class KnownSockets:
    """Looks up single connections in the network namespace of the thread that creates it; about 10 µs each."""

    def __init__(self, *, interface: int = 0) -> None:
        """Take the index of the interface that packets come in by; sockets bound to another one do not count."""
        self._interface = interface
        self._socket = _open()

    def close(self) -> None:
        """Close the socket; nothing can be looked up any more."""
        self._socket.close()

    def known(self, flow: Flow) -> bool:
        """Return whether this machine has the flow's connection. Raise OSError if the kernel does not answer."""
        family = socket.AF_INET if len(flow.vip) == _IPV4_BYTES else socket.AF_INET6
        ports = flow.vip_port.to_bytes(2), flow.client_port.to_bytes(2)
        request = _REQUEST.pack(
            family, socket.IPPROTO_TCP, 0, 0, *ports, flow.vip, flow.client, self._interface, _ANY_COOKIE, _ANY_COOKIE
        )
        self._socket.send(message(_SOCK_DIAG_BY_FAMILY, 0, request))
        answer = self._socket.recv(RECEIVE_SIZE)
        if HEADER.unpack_from(answer)[1] == ERROR:
            refusal = _refusal(answer)
            if refusal.errno == errno.ENOENT:
                return False
            raise refusal
        return answer[_STATE_AT] not in (_LISTEN, _TIME_WAIT) and answer[_TIMER_AT] != _TIMER_OF_TIME_WAIT


def held_buckets(settings: LayerTwoSettings) -> list[int]:
    """Return the buckets in which connections live, one mask per share group: bit b stands for bucket b.

    The scan is not taken at one instant: it may or may not include a connection that is opened or closed meanwhile. Run
    it in a thread of its own: it takes about 40 ms of a processor for 10,000 connections. Raise OSError if the kernel
    does not answer.
    """
    inputs: list[set[bytes]] = [set() for _ in settings.groups]
    with _open() as netlink:
        for family in (socket.AF_INET, socket.AF_INET6):
            _collect(netlink, family, settings, inputs)
    return [_mask(settings.seed, some) for some in inputs]


def _collect(netlink: socket.socket, family: int, settings: LayerTwoSettings, inputs: Sequence[set[bytes]]) -> None:
    """Add the hash input of each connection to the inputs of its group."""
    vips = [vip for vip in settings.vips if family == socket.AF_INET6 or isinstance(vip, IPv4Address)]
    groups = _groups(settings, vips, family)
    if not groups:
        return
    by_port = [group.by is By.PORT for group in settings.groups]
    for local_port, port, local, client in _connections(netlink, family, _local_addresses(vips)):
        group = groups.get(local_port + local)
        if group is None:
            continue
        address = client[: -len(_UNUSED)] if family == socket.AF_INET else client.removeprefix(_MAPPED)
        inputs[group].add(address + port if by_port[group] else address)


def _groups(settings: LayerTwoSettings, vips: Iterable[VirtualIp], family: int) -> dict[bytes, int]:
    """Return the share group of each local port and address that has one, as the kernel's answer encodes them."""
    found: dict[bytes, int] = {}
    for number, group in enumerate(settings.groups):
        for vip in vips:
            if group.protocol is not Protocol.TCP or group.vip not in (None, vip):
                continue
            local = vip.packed
            if isinstance(vip, IPv4Address):
                local = local + _UNUSED if family == socket.AF_INET else _MAPPED + local
            for port in group.ports:
                # As for a packet, the first group in the farm file counts.
                found.setdefault(port.to_bytes(2) + local, number)
    return found


def _mask(seed: bytes, inputs: Iterable[bytes]) -> int:
    by_size: dict[int, list[bytes]] = defaultdict(list)
    for one in inputs:
        by_size[len(one)].append(one)
    bits = bytearray(BUCKETS // 8)
    for alike in by_size.values():
        for bucket in buckets_of(seed, alike):
            bits[bucket >> 3] |= 1 << (bucket & 7)
    return int.from_bytes(bits, "little")


# -- netlink ------------------------------------------------------------------------------------------------------


def _open() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)


def _connections(netlink: socket.socket, family: int, program: bytes) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    """Yield local port, client's port, local address and client's address of the connections that a program accepts."""
    request = _REQUEST.pack(
        family, socket.IPPROTO_TCP, 0, _CONNECTIONS, bytes(2), bytes(2), bytes(16), bytes(16), 0, 0, 0
    )
    request += attribute(_INET_DIAG_REQ_BYTECODE, program)
    netlink.send(message(_SOCK_DIAG_BY_FAMILY, DUMP, request))
    while True:
        answer = netlink.recv(RECEIVE_SIZE)
        for kind, at, _ in messages(answer):
            if kind in (DONE, ERROR):
                refusal = _refusal(answer, at)
                if refusal.errno:
                    raise refusal
                return
            if answer[at + _TIMER_AT] != _TIMER_OF_TIME_WAIT:
                yield _PORTS_AND_ADDRESSES.unpack_from(answer, at + _PORTS_AT)


def _local_addresses(vips: Sequence[VirtualIp]) -> bytes:
    """Return a program for the kernel that accepts sockets with one of these local addresses (linux/inet_diag.h).

    A condition on an IPv4 address is also true of the IPv6 address that it is mapped to. A condition that is true goes
    on to the jump after it, to the end of the program, which accepts. A condition that is false skips that jump; the
    last one skips past the end, which refuses.
    """
    program = b""
    for vip in reversed(vips):
        family = socket.AF_INET if isinstance(vip, IPv4Address) else socket.AF_INET6
        condition = _CONDITION.pack(family, vip.max_prefixlen, _ANY_PORT) + vip.packed
        size = _OPERATION.size + len(condition)
        jump = _OPERATION.pack(_JUMP, _OPERATION.size, _OPERATION.size + len(program)) if program else b""
        program = _OPERATION.pack(_LOCAL_ADDRESS, size, size + _OPERATION.size) + condition + jump + program
    return program


def _refusal(answer: bytes, at: int = 0) -> OSError:
    """Return the error that ends a look-up as a negative number; 0 ends a dump that is complete."""
    code = error_number(answer, at)
    return OSError(code, f"the kernel does not tell which TCP connections it has: {os.strerror(code)}")
