"""Builds ICMP echo requests and recognises the replies (RFC 792, RFC 4443)."""

import struct
from typing import Final

_HEADER: Final = struct.Struct("!BBHHH")
"Type, code, checksum, identifier, sequence number."
_IPV4_REQUEST, _IPV4_REPLY = 8, 0
_IPV6_REQUEST, _IPV6_REPLY = 128, 129
_IPV4: Final = 4


def echo_request(*, ipv6: bool, token: bytes) -> bytes:
    """Return an echo request that carries a token. For IPv6, the kernel adds the checksum, which covers addresses."""
    if ipv6:
        return _HEADER.pack(_IPV6_REQUEST, 0, 0, _identifier(token), 1) + token
    blank = _HEADER.pack(_IPV4_REQUEST, 0, 0, _identifier(token), 1) + token
    return _HEADER.pack(_IPV4_REQUEST, 0, checksum(blank), _identifier(token), 1) + token


def is_reply(datagram: bytes, *, ipv6: bool, token: bytes) -> bool:
    """Return whether a datagram is the reply to the request with this token.

    The token decides, since the kernel replaces the identifier if it lets ordinary users ping. From a raw socket, the
    datagram begins with the IPv4 header.
    """
    if not ipv6 and datagram and datagram[0] >> 4 == _IPV4:
        datagram = datagram[4 * (datagram[0] & 15) :]
    if len(datagram) < _HEADER.size:
        return False
    kind = datagram[0]
    return kind == (_IPV6_REPLY if ipv6 else _IPV4_REPLY) and datagram[_HEADER.size :] == token


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = data + bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _identifier(token: bytes) -> int:
    return int.from_bytes(token[:2])
