"""The parts of a frame's headers that a packet filter needs: whose packet it is, not whether it is valid.

The network stack checks lengths and checksums, here or on the node that a frame is sent to. Everything needed is read
from the first `SIGHT` bytes; up to `MAX_EXTENSIONS` extension headers of IPv6 are skipped.

Sources: RFC 791 (IPv4), 8200 (IPv6), 792 and 4443 (ICMP errors and what they quote), 4861 (neighbour discovery).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from l2mode.core.settings import Protocol

SIGHT: Final = 256
MAX_EXTENSIONS: Final = 6
ETHERNET: Final = 14
"Length of an Ethernet header, in bytes."

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_IPV4_HEADER: Final = 20
_IPV6_HEADER: Final = 40
_TCP_HEADER: Final = 20
_PORTS: Final = 8
"The bytes of a TCP or UDP header that hold its ports; an ICMP error quotes at least these."
_EXTENSION: Final = 8
"The least length of an extension header, in bytes."

_ICMP, _ICMPV6, _FRAGMENT = 1, 58, 44
_EXTENSIONS: Final = frozenset({0, 43, 60})
"Hop-by-hop options, routing, destination options."
_PROTOCOLS: Final = {6: Protocol.TCP, 17: Protocol.UDP}

_ECHO_REQUEST: Final = {4: 8, 6: 128}
_ERRORS: Final = {4: frozenset({3, 11, 12}), 6: frozenset({1, 2, 3, 4})}
"Destination unreachable, packet too big, time exceeded, parameter problem."
_NEIGHBOUR_DISCOVERY: Final = range(133, 138)

_SYN, _RST, _ACK = 0x02, 0x04, 0x10


class PacketKind(Enum):
    """What determines the owner of a packet."""

    FLOW = "flow"
    "The port of the virtual IP, and what the share group goes by."
    PORTLESS = "portless"
    "The client's address: for fragments, echo requests, and errors that quote a fragment."
    NEIGHBOUR_DISCOVERY = "neighbour discovery"
    OTHER = "other"
    "Nothing: no share can name it."
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketHeaders:
    """An Ethernet header and the addresses after it."""

    to_mac: bytes
    from_mac: bytes
    version: int
    source: bytes
    destination: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What follows the addresses."""

    kind: PacketKind
    protocol: Protocol | None = None
    "None: neither TCP nor UDP, as in an echo request."
    client: bytes = b""
    "The client's address: the source, or the destination of the packet that an error quotes."
    client_port: int = 0
    vip_port: int = 0
    ip_id: int | None = None
    "The identification of an IPv4 packet from the client; None in IPv6 and in errors."
    opens: bool = False
    asks_for_socket: bool = False
    "It is a TCP packet with both ports, so a socket can be looked up."
    transport_at: int = 0
    "Offset of the TCP or UDP header of a client's packet, for a `FLOW`."


_MALFORMED: Final = Content(kind=PacketKind.MALFORMED)
_OTHER: Final = Content(kind=PacketKind.OTHER)


def read_head(frame: bytes) -> PacketHeaders | None:
    """Return the addresses of a frame; None if it is not IP or ends before its destination address."""
    kind = int.from_bytes(frame[12:14])
    if kind == _IPV4 and len(frame) >= ETHERNET + _IPV4_HEADER:
        version, source, destination = 4, frame[26:30], frame[30:34]
    elif kind == _IPV6 and len(frame) >= ETHERNET + _IPV6_HEADER:
        version, source, destination = 6, frame[22:38], frame[38:54]
    else:
        return None
    return PacketHeaders(
        to_mac=frame[:6], from_mac=frame[6:12], version=version, source=source, destination=destination
    )


def read_content(frame: bytes, head: PacketHeaders) -> Content:
    """Return what follows the addresses of a frame whose destination is a virtual IP."""
    seen = frame[:SIGHT]
    if seen[ETHERNET] >> 4 != head.version:
        return _MALFORMED
    return _read_ipv4(seen, head) if head.version == 4 else _read_ipv6(seen, head)  # noqa: PLR2004 - IPv4


def _read_ipv4(seen: bytes, head: PacketHeaders) -> Content:
    size = (seen[ETHERNET] & 0x0F) * 4
    if size < _IPV4_HEADER:
        return _MALFORMED
    protocol = seen[ETHERNET + 9]
    # More fragments, or an offset.
    if int.from_bytes(seen[ETHERNET + 6 : ETHERNET + 8]) & 0x3FFF:
        return _fragment(protocol, _ICMP, head.source)
    ip_id = int.from_bytes(seen[ETHERNET + 4 : ETHERNET + 6])
    return _read_transport(seen, ETHERNET + size, protocol, head, ip_id)


def _read_ipv6(seen: bytes, head: PacketHeaders) -> Content:
    at, following = ETHERNET + _IPV6_HEADER, seen[ETHERNET + 6]
    for _ in range(MAX_EXTENSIONS):
        if following not in _EXTENSIONS and following != _FRAGMENT:
            break
        if len(seen) < at + _EXTENSION:
            return _MALFORMED
        kind, following = following, seen[at]
        if kind != _FRAGMENT:
            at += (seen[at + 1] + 1) * 8
        elif int.from_bytes(seen[at + 2 : at + 4]) & 0xFFF9:
            return _fragment(following, _ICMPV6, head.source)
        else:
            at += _EXTENSION
    return _read_transport(seen, at, following, head, None)


def _fragment(protocol: int, icmp: int, client: bytes) -> Content:
    """Return the content of a fragment without its ports: all fragments go one way, and only the first has ports."""
    if protocol == icmp:
        return Content(kind=PacketKind.PORTLESS, client=client, opens=True)
    known = _PROTOCOLS.get(protocol)
    if known is None:
        return _OTHER
    return Content(kind=PacketKind.PORTLESS, protocol=known, client=client, opens=known is Protocol.UDP)


def _read_transport(seen: bytes, at: int, number: int, head: PacketHeaders, ip_id: int | None) -> Content:
    if number == (_ICMP if head.version == 4 else _ICMPV6):  # noqa: PLR2004 - IPv4
        return _read_icmp(seen, at, head)
    protocol = _PROTOCOLS.get(number)
    if protocol is None:
        return _OTHER
    tcp = protocol is Protocol.TCP
    if len(seen) < at + (_TCP_HEADER if tcp else _PORTS):
        return _MALFORMED
    return Content(
        kind=PacketKind.FLOW,
        protocol=protocol,
        client=head.source,
        client_port=int.from_bytes(seen[at : at + 2]),
        vip_port=int.from_bytes(seen[at + 2 : at + 4]),
        ip_id=ip_id,
        opens=not tcp or seen[at + 13] & (_SYN | _ACK | _RST) == _SYN,
        asks_for_socket=tcp,
        transport_at=at,
    )


def _read_icmp(seen: bytes, at: int, head: PacketHeaders) -> Content:
    if len(seen) < at + _PORTS:
        return _MALFORMED
    kind = seen[at]
    if head.version == 6 and kind in _NEIGHBOUR_DISCOVERY:  # noqa: PLR2004 - IPv6
        return Content(kind=PacketKind.NEIGHBOUR_DISCOVERY)
    if kind == _ECHO_REQUEST[head.version]:
        return Content(kind=PacketKind.PORTLESS, client=head.source, opens=True)
    if kind not in _ERRORS[head.version]:
        return _OTHER
    return _read_quote(seen, at + _PORTS, head)


def _read_quote(seen: bytes, at: int, head: PacketHeaders) -> Content:
    """Return the content of the packet that an error quotes: one that the virtual IP has sent to a client."""
    if head.version == 4:  # noqa: PLR2004 - IPv4
        if len(seen) < at + _IPV4_HEADER:
            return _MALFORMED
        size = (seen[at] & 0x0F) * 4
        if seen[at] >> 4 != head.version or size < _IPV4_HEADER:
            return _MALFORMED
        number, source, client = seen[at + 9], seen[at + 12 : at + 16], seen[at + 16 : at + 20]
        offset = int.from_bytes(seen[at + 6 : at + 8]) & 0x1FFF
        at += size
    else:
        if len(seen) < at + _IPV6_HEADER:
            return _MALFORMED
        if seen[at] >> 4 != head.version:
            return _MALFORMED
        number, source, client = seen[at + 6], seen[at + 8 : at + 24], seen[at + 24 : at + 40]
        offset = 0
        at += _IPV6_HEADER
        if number == _FRAGMENT:
            if len(seen) < at + _EXTENSION:
                return _MALFORMED
            number, offset = seen[at], int.from_bytes(seen[at + 2 : at + 4]) & 0xFFF8
            at += _EXTENSION
    protocol = _PROTOCOLS.get(number)
    if protocol is None or source != head.destination:
        return _OTHER
    opens = protocol is Protocol.UDP
    if offset:
        return Content(kind=PacketKind.PORTLESS, protocol=protocol, client=client, opens=opens)
    if len(seen) < at + _PORTS:
        return _MALFORMED
    return Content(
        kind=PacketKind.FLOW,
        protocol=protocol,
        client=client,
        client_port=int.from_bytes(seen[at + 2 : at + 4]),
        vip_port=int.from_bytes(seen[at : at + 2]),
        opens=opens,
        asks_for_socket=not opens,
    )
