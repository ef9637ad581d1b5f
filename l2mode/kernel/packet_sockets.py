"""Packet sockets (packet(7)) that hear nothing but questions and claims about the virtual IPs on an interface.

All state is in the sockets: the filters, the multicast groups and the virtual MAC vanish with the process.
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from l2mode.core.frames import ADVERTISEMENT, ETHERTYPE_ARP, ETHERTYPE_IPV6, SOLICITATION, solicited_node
from l2mode.core.settings import VirtualIp
from l2mode.kernel.errors import FilterError
from l2mode.kernel.frame_filter import Instruction, attach, only_arp, only_neighbour_discovery

# linux/if_packet.h
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_MR_UNICAST: Final = 3
_MEMBERSHIP: Final = struct.Struct("iHH8s")


class PacketSockets:
    """One non-blocking socket for each family of the virtual IPs, by ethertype. Raise FilterError if refused."""

    def __init__(self, interface: str, vips: Sequence[VirtualIp], virtual_mac: bytes | None) -> None:
        self.by_ethertype: dict[int, socket.socket] = {}
        with contextlib.ExitStack() as undo:
            self._closing = undo
            try:
                self.index = socket.if_nametoindex(interface)
                for ethertype, program in _programs(vips, virtual_mac).items():
                    self._listen(interface, ethertype, program)
                if virtual_mac is not None:
                    self._hear_virtual_mac(virtual_mac)
            except OSError as error:
                raise _refused(interface, error) from error
            self._join(interface, {solicited_node(vip) for vip in vips if isinstance(vip, IPv6Address)})
            self._closing = undo.pop_all()

    def close(self) -> None:
        """Close the sockets; safe to repeat."""
        self._closing.close()

    def _listen(self, interface: str, ethertype: int, program: Sequence[Instruction]) -> None:
        # With protocol 0 the socket hears nothing: no frame is queued before the filter is in place.
        opened = self._closing.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
        opened.settimeout(0)
        attach(opened, program)
        opened.bind((interface, ethertype))
        self.by_ethertype[ethertype] = opened

    def _hear_virtual_mac(self, mac: bytes) -> None:
        """Let the interface's own MAC filter pass frames to the virtual MAC."""
        request = _MEMBERSHIP.pack(self.index, _PACKET_MR_UNICAST, len(mac), mac)
        next(iter(self.by_ethertype.values())).setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)

    def _join(self, interface: str, groups: Iterable[IPv6Address]) -> None:
        """Join these groups, so that the interface and a switch with multicast snooping pass on questions in them."""
        try:
            for group in groups:
                # One socket per group: the number that one socket may join is limited (net.core.optmem_max).
                opened = self._closing.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
                request = group.packed + struct.pack("i", self.index)
                opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        except OSError as error:
            raise FilterError(
                f"{interface} cannot join the multicast groups of the IPv6 virtual IPs: {error.strerror}",
                f"IPv6 needs an MTU of 1280 bytes or more on {interface}, and a kernel that has not disabled it",
            ) from error


def _programs(vips: Sequence[VirtualIp], virtual_mac: bytes | None) -> dict[int, list[Instruction]]:
    """Return the socket filter for each ethertype that the virtual IPs need."""
    programs = {}
    if old := [vip for vip in vips if isinstance(vip, IPv4Address)]:
        programs[ETHERTYPE_ARP] = only_arp(old, virtual_mac)
    if new := [vip for vip in vips if isinstance(vip, IPv6Address)]:
        programs[ETHERTYPE_IPV6] = only_neighbour_discovery(new, virtual_mac, (SOLICITATION, ADVERTISEMENT))
    return programs


def _refused(interface: str, error: OSError) -> FilterError:
    problem = f"no packet sockets on {interface}: {error.strerror}"
    if error.errno == errno.EPERM:
        return FilterError(problem, "they need the capability CAP_NET_RAW: run as root, or grant it")
    return FilterError(problem, f"ip link show {interface} should show it, up")
