"""What passes a server's network interface: packet sockets with a large buffer, read when the test asks.

A packet socket sees a frame before the ingress filter (tc) does, but only what generic XDP has let through; what the
server itself sends it sees always (packet(7)). So the answers are the evidence: who took a packet has answered it.
"""

import contextlib
import ctypes
import ipaddress
import socket
import struct
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from lan.namespaces import inside
from lan.web import PORT, SECOND_PORT

_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 3, 0x0800, 0x86DD
_SO_TIMESTAMPNS = 35
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SOL_PACKET = 263
_PACKET_STATISTICS = 6
_BUFFER_BYTES = 64 << 20
_SNAP_BYTES = 160
_PACKET_TYPE = 0xFFFFF000 + 4
"Where a classic filter finds it: SKF_AD_OFF + SKF_AD_PKTTYPE (linux/filter.h)."

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10
_ECHO_REPLY = {ICMP: 0, ICMP6: 129}

# Classic BPF (bpf(4)): what this node sends, TCP over IPv4, but for later fragments, or over IPv6, with SYN or RST set.
# A flood that comes in fills no buffer. Jumps count from the next line.
_OPENINGS_AND_RESETS = (
    (0x28, 0, 0, _PACKET_TYPE),  # 0: in or out
    (0x15, 0, 14, socket.PACKET_OUTGOING),  # 1: in: 16
    (0x28, 0, 0, 12),  # 2: the EtherType
    (0x15, 0, 7, 0x0800),  # 3: not IPv4: 11
    (0x30, 0, 0, 23),  # 4: the protocol
    (0x15, 0, 10, TCP),  # 5: not TCP: 16
    (0x28, 0, 0, 20),  # 6: the fragment offset
    (0x45, 8, 0, 0x1FFF),  # 7: a later fragment: 16
    (0xB1, 0, 0, 14),  # 8: x = length of the IPv4 header
    (0x50, 0, 0, 27),  # 9: the TCP flags
    (0x45, 6, 5, SYN | RST),  # 10: set: 17, else 16
    (0x15, 0, 4, 0x86DD),  # 11: not IPv6: 16
    (0x30, 0, 0, 20),  # 12: the next header
    (0x15, 0, 2, TCP),  # 13: not TCP: 16
    (0x30, 0, 0, 67),  # 14: the TCP flags
    (0x45, 1, 0, SYN | RST),  # 15: set: 17, else 16
    (0x06, 0, 0, 0),  # 16: ignore it
    (0x06, 0, 0, _SNAP_BYTES),  # 17: keep it
)
_EVERYTHING = ((0x06, 0, 0, _SNAP_BYTES),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A packet."""

    at: float
    "Seconds of the monotonic clock."
    node: str
    sent: bool
    "By this node; else it came in."
    protocol: int
    source: str
    target: str
    ports: tuple
    "Source and destination; of an echo its identifier and sequence number."
    flags: int = 0
    "Of TCP; of ICMP its type."
    acknowledges: int = 0


class Capture:
    """Everything that has passed some nodes since the start, in the order of time."""

    def __init__(self, sockets):
        self._sockets = sockets
        self._offset = time.time() - time.monotonic()
        self.seen = []

    def read(self):
        """Take what the sockets have; gives all seen so far. Fails when a buffer has overflowed.

        What comes after the call has begun waits for the next: under a flood there would be no end of it.
        """
        for node, tap in self._sockets.items():
            # The kernel counts the packets since it was last asked, and starts anew.
            count, lost = struct.unpack("II", tap.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
            assert lost == 0, f"the capture on {node} has lost {lost} packets"
            for _ in range(count):
                frame, controls, _, address = tap.recvmsg(2048, 64)
                sent = address[2] == socket.PACKET_OUTGOING
                found = _parse(frame, node=node, sent=sent, at=_time_in(controls) - self._offset)
                if found:
                    self.seen.append(found)
        self.seen.sort(key=lambda seen: seen.at)
        return self.seen

    def accepted(self, *, since=0.0):
        """Give, for each connection attempt (client, port, number acknowledged), the nodes that accepted it.

        `since` leaves out earlier answers; in seconds of the monotonic clock.
        """
        return self._who_sent(SYN | ACK, SYN | ACK, since)

    def twice_accepted(self, *, since=0.0):
        """Give the attempts that more than one node accepted."""
        return {attempt: nodes for attempt, nodes in self.accepted(since=since).items() if len(nodes) > 1}

    def resets(self):
        """Give, for each connection (client, port), the nodes that sent it a reset."""
        found = defaultdict(set)
        for (client, port, _), nodes in self._who_sent(RST, RST, 0.0).items():
            found[client, port] |= nodes
        return dict(found)

    def echo_replies(self):
        """Give, for each ping (client, identifier, sequence number), the nodes that replied, each reply by itself."""
        found = defaultdict(list)
        for seen in self.read():
            if seen.sent and _ECHO_REPLY.get(seen.protocol) == seen.flags:
                found[seen.target, *seen.ports].append(seen.node)
        return dict(found)

    def _who_sent(self, mask, flags, since):
        found = defaultdict(set)
        for seen in self.read():
            # What a director sends on comes from the client; an answer comes from the shared port.
            is_answer = seen.sent and seen.protocol == TCP and seen.ports[0] in (PORT, SECOND_PORT)
            if is_answer and seen.flags & mask == flags and seen.at > since:
                found[seen.target, seen.ports[1], seen.acknowledges].add(seen.node)
        return dict(found)


@contextlib.contextmanager
def capture(hosts, *, everything=False):
    """Watch eth0 of some hosts: the openings and resets that they send, or everything (a few packets only, then)."""
    with contextlib.ExitStack() as stack:
        yield Capture({host.name: stack.enter_context(_tap(host, everything=everything)) for host in hosts})


def _tap(host, *, everything):
    with inside(host.namespace):
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    _attach(tap, _EVERYTHING if everything else _OPENINGS_AND_RESETS)
    tap.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    tap.settimeout(1)
    _wait_for_stamps()
    # Bound to no protocol until the filter is there, it has taken nothing before.
    tap.bind(("eth0", _ETH_P_ALL))
    return tap


def _wait_for_stamps():
    """Wait until the kernel notes when a packet arrives.

    It begins a moment after the first socket has asked for it. Who reads a packet that came before gets the time of
    his reading instead (__sock_recv_timestamp in net/socket.c).
    """
    end = time.monotonic() + 5
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        probe.settimeout(5)
        probe.bind(("127.0.0.1", 0))
        while True:
            probe.sendto(b"when?", probe.getsockname())
            sent = time.time()
            _, controls, _, _ = probe.recvmsg(16, 64)
            if _time_in(controls) <= sent:
                return
            assert time.monotonic() < end, "the kernel does not note when packets arrive"


def _attach(tap, program):
    packed = b"".join(struct.pack("HBBI", *line) for line in program)
    code = ctypes.create_string_buffer(packed)
    tap.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", len(program), ctypes.addressof(code)))


def _time_in(controls):
    """Give the kernel's time of a packet, in seconds since 1970."""
    ((_, _, stamp),) = controls
    seconds, nanoseconds = struct.unpack("qq", stamp)
    return seconds + nanoseconds / 1e9


def _parse(frame, *, node, sent, at):
    """Give what matters of an IP packet; None for anything else, and for later fragments."""
    kind = int.from_bytes(frame[12:14])
    if kind == _ETH_P_IP and int.from_bytes(frame[20:22]) & 0x1FFF == 0:
        protocol, source, target, payload = frame[23], frame[26:30], frame[30:34], frame[14 + (frame[14] & 15) * 4 :]
    elif kind == _ETH_P_IPV6:
        protocol, source, target, payload = frame[20], frame[22:38], frame[38:54], frame[54:]
    else:
        return None
    ports, flags, acknowledges = (0, 0), 0, 0
    if protocol == TCP and len(payload) >= 14:
        *ports, _, acknowledges, _, flags = struct.unpack_from("!HHIIBB", payload)
    elif protocol == UDP and len(payload) >= 8:
        ports = struct.unpack_from("!HH", payload)
    elif protocol in _ECHO_REPLY and len(payload) >= 8:
        flags = payload[0]
        ports = struct.unpack_from("!HH", payload, 4)
    return Seen(
        at=at,
        node=node,
        sent=sent,
        protocol=protocol,
        source=str(ipaddress.ip_address(source)),
        target=str(ipaddress.ip_address(target)),
        ports=tuple(ports),
        flags=flags,
        acknowledges=acknowledges,
    )
