"""The frames that tie an address to a MAC: ARP (RFC 826, 5227) and neighbour discovery (RFC 4861), built and parsed.

Both protocols have questions ("who has 192.0.2.50?") and claims ("192.0.2.50 is at 02:…"). A question names its sender
and the sender's own MAC, so it is also a claim. `parse` reads what comes from the network. It returns None for whatever
a conforming host would ignore, and never raises.
"""

import hashlib
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from l2mode.core.settings import LayerTwoSettings, VirtualIp

ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_IPV6: Final = 0x86DD
SOLICITATION: Final = 135
"ICMPv6 type of a neighbour solicitation: a question."
ADVERTISEMENT: Final = 136
"ICMPv6 type of a neighbour advertisement: a claim."
BROADCAST: Final = b"\xff" * 6

_ETHERNET: Final = struct.Struct("!6s6sH")
_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ARP_ETHERNET_IPV4: Final = (1, 0x0800, 6, 4)
_ARP_REQUEST: Final = 1
_ARP_REPLY: Final = 2
_IPV6: Final = struct.Struct("!IHBB16s16s")
_ICMPV6: Final = 58
_NEIGHBOUR: Final = struct.Struct("!BBHI16s")
"Type, code, checksum, flags, target address; options follow."
_HOP_LIMIT: Final = 255
"The hop limit of neighbour discovery, which is never forwarded; this value proves it (RFC 4861 section 7.1)."
_SOURCE_LINK_ADDRESS: Final = 1
_TARGET_LINK_ADDRESS: Final = 2
_SOLICITED: Final = 0x40000000
_OVERRIDE: Final = 0x20000000
_NOBODY: Final = IPv4Address(0)
_UNSPECIFIED: Final = IPv6Address(0)
_ALL_NODES: Final = IPv6Address("ff02::1")
_SOLICITED_NODE: Final = int(IPv6Address("ff02::1:ff00:0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressQuestion:
    """A request for the MAC of `target`."""

    target: VirtualIp
    asker: VirtualIp | None
    "None: a host that wants to use `target` itself asks whether it is free (RFC 5227, RFC 4862)."
    asker_mac: bytes
    "The MAC to which the answer goes."
    destination_mac: bytes
    "The destination of the frame: everybody, or the host that has had the address so far."


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressClaim:
    """A statement that `address` is at `mac`."""

    address: VirtualIp
    mac: bytes
    source_mac: bytes
    "The source of the frame; it differs from `mac` if one node speaks for another."
    to_all: bool = False
    "The frame was addressed to everybody on the network."


def virtual_mac(settings: LayerTwoSettings) -> bytes:
    """Return the MAC of the virtual IPs in flooded delivery: the same on every node, locally administered, unicast.

    It does not depend on the virtual IPs: clients keep it when one is added or removed.
    """
    return b"\x0a" + hashlib.blake2b(settings.farm.encode(), digest_size=5).digest()


def solicited_node(address: IPv6Address) -> IPv6Address:
    """Return the multicast group in which an address is asked for (RFC 4291 section 2.7.1)."""
    return IPv6Address(_SOLICITED_NODE | int(address) & 0xFFFFFF)


def multicast_mac(group: IPv6Address) -> bytes:
    """Return the MAC of an IPv6 multicast group (RFC 2464 section 7)."""
    return b"\x33\x33" + group.packed[-4:]


def question(*, source_mac: bytes, asker: VirtualIp | None, target: VirtualIp) -> bytes:
    """Return a request to everybody for the MAC of `target`; `asker` None asks if it is free. Both have one family."""
    if isinstance(target, IPv4Address):
        sender = (source_mac, asker or _NOBODY)
        return _arp(BROADCAST, source_mac, _ARP_REQUEST, sender, (bytes(6), target))
    group = solicited_node(target)
    # A host without an address cannot be answered by unicast (RFC 4861 section 4.3).
    option = b"" if asker is None else _link_option(_SOURCE_LINK_ADDRESS, source_mac)
    message = _NEIGHBOUR.pack(SOLICITATION, 0, 0, 0, target.packed) + option
    return _icmpv6(multicast_mac(group), source_mac, asker or _UNSPECIFIED, group, message)


def answer(asked: AddressQuestion, *, mac: bytes, source_mac: bytes) -> bytes:
    """Return the answer that tells the asker that the address is at `mac`, in a frame from `source_mac`."""
    if isinstance(asked.target, IPv4Address):
        to = (asked.asker_mac, asked.asker or _NOBODY)
        return _arp(asked.asker_mac, source_mac, _ARP_REPLY, (mac, asked.target), to)
    if asked.asker is None:  # it has no address yet, so the answer goes to everybody (RFC 4861 section 7.2.4)
        return announcement(asked.target, mac=mac, source_mac=source_mac)
    return _advertisement(
        asked.target, mac, source_mac, to=asked.asker, to_mac=asked.asker_mac, flags=_SOLICITED | _OVERRIDE
    )


def correction(asked: AddressQuestion, *, mac: bytes, source_mac: bytes) -> list[bytes]:
    """Return the frames that tell an asker with another MAC in its cache that the address is at `mac`.

    For a second after the latest change of the entry, the one that led to the question included, Linux ignores another
    MAC in a reply. It believes the form of an announcement at once (measured: 5.1 s instead of 6.3 s after the last
    use).
    """
    reply = answer(asked, mac=mac, source_mac=source_mac)
    if isinstance(asked.target, IPv6Address):
        return [reply]
    return [_gratuitous_arp(asked.target, mac, source_mac, to_mac=asked.asker_mac), reply]


def announcement(vip: VirtualIp, *, mac: bytes, source_mac: bytes) -> bytes:
    """Return a frame that tells everybody, unasked, that the address is at `mac`."""
    if isinstance(vip, IPv4Address):
        return _gratuitous_arp(vip, mac, source_mac, to_mac=BROADCAST)
    return _advertisement(vip, mac, source_mac, to=_ALL_NODES, to_mac=multicast_mac(_ALL_NODES), flags=_OVERRIDE)


def parse(frame: bytes) -> AddressQuestion | AddressClaim | None:
    """Return what a frame, with its Ethernet header, asks or claims; None if it does neither or breaks the rules."""
    if len(frame) < _ETHERNET.size:
        return None
    destination, source, ethertype = _ETHERNET.unpack_from(frame)
    if not _is_a_host(source):
        return None
    body = frame[_ETHERNET.size :]
    if ethertype == ETHERTYPE_ARP:
        return _parse_arp(body, destination, source)
    if ethertype == ETHERTYPE_IPV6:
        return _parse_icmpv6(body, destination, source)
    return None


def _parse_arp(body: bytes, destination: bytes, source: bytes) -> AddressQuestion | AddressClaim | None:
    if len(body) < _ARP.size:
        return None
    *kind, operation, sender_mac, sender, _, target = _ARP.unpack_from(body)
    if tuple(kind) != _ARP_ETHERNET_IPV4 or not _is_a_host(sender_mac):
        return None
    if operation == _ARP_REPLY or (operation == _ARP_REQUEST and sender == target):
        to_all = bool(destination[0] & 1)
        return AddressClaim(address=IPv4Address(sender), mac=sender_mac, source_mac=source, to_all=to_all)
    if operation != _ARP_REQUEST:
        return None
    asker = IPv4Address(sender)
    return AddressQuestion(
        target=IPv4Address(target),
        asker=None if asker == _NOBODY else asker,
        asker_mac=sender_mac,
        destination_mac=destination,
    )


def _parse_icmpv6(body: bytes, destination: bytes, source: bytes) -> AddressQuestion | AddressClaim | None:
    if len(body) < _IPV6.size:
        return None
    _, length, following, hops, from_bytes, to_bytes = _IPV6.unpack_from(body)
    message = body[_IPV6.size : _IPV6.size + length]
    if following != _ICMPV6 or hops != _HOP_LIMIT or len(message) != length or length < _NEIGHBOUR.size:
        return None
    kind, code, _, flags, target_bytes = _NEIGHBOUR.unpack_from(message)
    target, sender, to = IPv6Address(target_bytes), IPv6Address(from_bytes), IPv6Address(to_bytes)
    options = _link_addresses(message[_NEIGHBOUR.size :])
    if code != 0 or target.is_multicast or sender.is_multicast or options is None:
        return None
    if _checksum(sender, to, message) != 0:
        return None
    if kind == SOLICITATION:
        mac = options.get(_SOURCE_LINK_ADDRESS)
        if sender == _UNSPECIFIED and (mac is not None or to != solicited_node(target)):  # RFC 4861 section 7.1.1
            return None
        return AddressQuestion(
            target=target,
            asker=None if sender == _UNSPECIFIED else sender,
            asker_mac=mac or source,
            destination_mac=destination,
        )
    # A solicited advertisement goes to the host that asked (RFC 4861 section 7.1.2). An advertisement without the
    # override flag comes from a host that speaks for another, as a proxy does (section 7.2.8).
    if kind != ADVERTISEMENT or (to.is_multicast and flags & _SOLICITED) or not flags & _OVERRIDE:
        return None
    mac = options.get(_TARGET_LINK_ADDRESS, source)
    return AddressClaim(address=target, mac=mac, source_mac=source, to_all=to.is_multicast)


def _link_addresses(options: bytes) -> dict[int, bytes] | None:
    """Return the MACs in the options, by kind of option; None if the options are damaged."""
    found: dict[int, bytes] = {}
    while options:
        # Lengths count units of 8 bytes (RFC 4861 section 4.6).
        length = 8 * options[1] if len(options) > 1 else 0
        if not 0 < length <= len(options):
            return None
        if options[0] in (_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS):
            mac = options[2:8]
            if length != 8 or not _is_a_host(mac):  # noqa: PLR2004 - two bytes of header and a MAC
                return None
            found[options[0]] = mac
        options = options[length:]
    return found


def _is_a_host(mac: bytes) -> bool:
    """Return whether a single host may have the MAC: an answer must never go to a group."""
    return not mac[0] & 1 and any(mac)


def _gratuitous_arp(vip: IPv4Address, mac: bytes, source_mac: bytes, *, to_mac: bytes) -> bytes:
    """Return a request for the address itself (RFC 5227 section 3), the announcement that Linux believes at once."""
    return _arp(to_mac, source_mac, _ARP_REQUEST, (mac, vip), (bytes(6), vip))


def _arp(
    destination: bytes,
    source: bytes,
    operation: Literal[1, 2],
    sender: tuple[bytes, VirtualIp],
    target: tuple[bytes, VirtualIp],
) -> bytes:
    ends = (sender[0], sender[1].packed, target[0], target[1].packed)
    return _ETHERNET.pack(destination, source, ETHERTYPE_ARP) + _ARP.pack(*_ARP_ETHERNET_IPV4, operation, *ends)


def _advertisement(
    vip: IPv6Address, mac: bytes, source_mac: bytes, *, to: VirtualIp, to_mac: bytes, flags: int
) -> bytes:
    message = _NEIGHBOUR.pack(ADVERTISEMENT, 0, 0, flags, vip.packed) + _link_option(_TARGET_LINK_ADDRESS, mac)
    return _icmpv6(to_mac, source_mac, vip, to, message)


def _link_option(kind: int, mac: bytes) -> bytes:
    return bytes([kind, 1]) + mac


def _icmpv6(destination: bytes, source: bytes, sender: VirtualIp, to: VirtualIp, message: bytes) -> bytes:
    checksum = _checksum(sender, to, message).to_bytes(2, "big")
    return (
        _ETHERNET.pack(destination, source, ETHERTYPE_IPV6)
        + _IPV6.pack(6 << 28, len(message), _ICMPV6, _HOP_LIMIT, sender.packed, to.packed)
        + message[:2]
        + checksum
        + message[4:]
    )


def _checksum(sender: VirtualIp, to: VirtualIp, message: bytes) -> int:
    """Return the checksum of a message whose field is 0; for one that has its checksum, 0 (RFC 4443 section 2.3)."""
    covered = sender.packed + to.packed + struct.pack("!II", len(message), _ICMPV6) + message
    # The sum in ones' complement is the number modulo 65535; an odd last byte counts as the high one.
    number = int.from_bytes(covered, "big") << 8 * (len(covered) % 2)
    return 0xFFFF - (number % 0xFFFF or 0xFFFF)
