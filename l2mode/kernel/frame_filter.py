"""Socket filters in classic BPF (linux/filter.h) that limit what a packet socket hears to ARP and neighbour discovery.

They run before a frame is copied, so a machine's other traffic costs a packet socket next to nothing.
"""

import ctypes
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

Instruction = tuple[int, int, int, int]
"Code, steps to jump if true, steps if false, operand."

# linux/if_packet.h
_TO_ANOTHER_HOST: Final = 3
_OUTGOING: Final = 4
# linux/filter.h: pseudo offset that loads the frame's packet type
_PACKET_TYPE: Final = 0xFFFFF000 + 4

_SO_ATTACH_FILTER: Final = 26
_INSTRUCTION: Final = struct.Struct("HBBI")
_WHOLE_FRAME: Final = 0xFFFFFFFF

_LOAD_WORD: Final = 0x20
_LOAD_HALF: Final = 0x28
_LOAD_BYTE: Final = 0x30
_JUMP_EQUAL: Final = 0x15
_RETURN: Final = 0x06

# Offsets in a frame with its Ethernet header.
_ARP_SENDER: Final = 28
_ARP_TARGET: Final = 38
_NEXT_HEADER: Final = 20
_ICMPV6_TYPE: Final = 54
_NEIGHBOUR_TARGET: Final = 62
_ICMPV6: Final = 58


def only_arp(vips: Sequence[IPv4Address], virtual_mac: bytes | None = None) -> list[Instruction]:
    """Return a filter that accepts ARP whose target or sender is one of these addresses."""
    program = _to_this_host(virtual_mac)
    for offset in (_ARP_TARGET, _ARP_SENDER):
        program.append((_LOAD_WORD, 0, 0, offset))
        for vip in vips:
            program += [(_JUMP_EQUAL, 0, 1, int(vip)), (_RETURN, 0, 0, _WHOLE_FRAME)]
    return [*program, (_RETURN, 0, 0, 0)]


def only_neighbour_discovery(
    vips: Sequence[IPv6Address], virtual_mac: bytes | None, types: Iterable[int]
) -> list[Instruction]:
    """Return a filter that accepts neighbour discovery of these ICMPv6 types whose target is one of these addresses."""
    program = _to_this_host(virtual_mac)
    program += [(_LOAD_BYTE, 0, 0, _NEXT_HEADER), (_JUMP_EQUAL, 1, 0, _ICMPV6), (_RETURN, 0, 0, 0)]
    program.append((_LOAD_BYTE, 0, 0, _ICMPV6_TYPE))
    wanted = tuple(types)
    # Whichever type matches jumps over the rest of the comparisons and the refusal after them.
    program += [(_JUMP_EQUAL, len(wanted) - place, 0, kind) for place, kind in enumerate(wanted)]
    program.append((_RETURN, 0, 0, 0))
    for vip in vips:
        words = struct.unpack("!4I", vip.packed)
        for place, word in enumerate(words):
            # To the next address: past this one's remaining loads and jumps, and its return.
            behind = 2 * (len(words) - place) - 1
            program += [(_LOAD_WORD, 0, 0, _NEIGHBOUR_TARGET + 4 * place), (_JUMP_EQUAL, 0, behind, word)]
        program.append((_RETURN, 0, 0, _WHOLE_FRAME))
    return [*program, (_RETURN, 0, 0, 0)]


def attach(opened: socket.socket, program: Sequence[Instruction]) -> None:
    """Let the kernel hand the socket only the frames that the program accepts. Raise OSError if that is refused."""
    instructions = ctypes.create_string_buffer(b"".join(_INSTRUCTION.pack(*instruction) for instruction in program))
    # struct sock_fprog: a count, padding, a pointer.
    request = struct.pack("@HP", len(program), ctypes.addressof(instructions))
    opened.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, request)


def _to_this_host(virtual_mac: bytes | None) -> list[Instruction]:
    """Return instructions that refuse frames not for this host: its own, others', and those in a foreign VLAN."""
    packet_type = (_LOAD_WORD, 0, 0, _PACKET_TYPE)
    refuse = (_RETURN, 0, 0, 0)
    if virtual_mac is None:
        return [packet_type, (_JUMP_EQUAL, 1, 0, _OUTGOING), (_JUMP_EQUAL, 0, 1, _TO_ANOTHER_HOST), refuse]
    high, low = struct.unpack("!IH", virtual_mac)
    # The kernel classifies frames to the virtual MAC as another host's.
    return [
        packet_type,
        (_JUMP_EQUAL, 5, 0, _OUTGOING),
        (_JUMP_EQUAL, 0, 5, _TO_ANOTHER_HOST),
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_EQUAL, 0, 2, high),
        (_LOAD_HALF, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, low),
        refuse,
    ]
