"""ARP and neighbour-discovery frames from and to the wire: packet sockets (packet(7)), filtered in the kernel.

Everything lives in the sockets: the filters, the multicast groups and the virtual MAC vanish with the process.
The tc and XDP programs of this package pass these frames untouched.
"""

import asyncio
import errno
import select
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from l2mode.core.frames import ADVERTISEMENT, ETHERTYPE_ARP, ETHERTYPE_IPV6, SOLICITATION, solicited_node
from l2mode.core.settings import VirtualIp
from l2mode.kernel.errors import FilterError
from l2mode.kernel.frame_filter import attach, only_arp, only_neighbour_discovery

Tell = Callable[[str, str], None]
'Takes an event: "info", "warning" or "error", and a sentence.'

READS_AT_ONCE: Final = 32
REST: Final = 0.005
"""Seconds until the next look after `READS_AT_ONCE` frames: a flood of questions costs 6,400 reads a second, some
tenth of a core, and leaves the event loop to the heartbeats. What does not fit the sockets meanwhile is lost."""

_LONGEST: Final = 256
"Bytes read of a frame: questions and claims are 42 to 86; one with more options than that is not read."

# linux/if_packet.h
_SOL_PACKET: Final = 263
_PACKET_ADD_MEMBERSHIP: Final = 1
_PACKET_MR_UNICAST: Final = 3
_MEMBERSHIP: Final = struct.Struct("iHH8s")

_GONE: Final = (errno.ENETDOWN, errno.ENODEV, errno.ENXIO)


class RawFrames:
    """The wire as seen by questions and claims about the virtual IPs, on one interface.

    `virtual_mac` is given in flooded delivery: frames to it are then heard too.
    Raises FilterError when the sockets cannot be had.
    """

    def __init__(
        self, interface: str, vips: Sequence[VirtualIp], *, tell: Tell, virtual_mac: bytes | None = None
    ) -> None:
        self.interface = interface
        self.heard = 0
        "Frames read since the start."
        self.failures = 0
        "Reads and sends that the kernel refused since the start, an interface that is down above all."
        self._tell = tell
        self._troubled = False
        self._sockets: dict[int, socket.socket] = {}
        self._groups: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rests: dict[int, asyncio.TimerHandle] = {}
        try:
            self._open(vips, virtual_mac)
        except OSError as error:
            self.close()
            raise _refused(interface, error) from error
        except FilterError:
            self.close()
            raise

    def _open(self, vips: Sequence[VirtualIp], virtual_mac: bytes | None) -> None:
        old = [vip for vip in vips if isinstance(vip, IPv4Address)]
        new = [vip for vip in vips if isinstance(vip, IPv6Address)]
        filters = {}
        if old:
            filters[ETHERTYPE_ARP] = only_arp(old, virtual_mac)
        if new:
            filters[ETHERTYPE_IPV6] = only_neighbour_discovery(new, virtual_mac, (SOLICITATION, ADVERTISEMENT))
        for ethertype, program in filters.items():
            # Protocol 0 hears nothing: nothing is queued before the filter is in place.
            opened = self._sockets[ethertype] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            opened.settimeout(0)
            attach(opened, program)
            opened.bind((self.interface, ethertype))
        index = socket.if_nametoindex(self.interface)
        if virtual_mac is not None:
            request = _MEMBERSHIP.pack(index, _PACKET_MR_UNICAST, len(virtual_mac), virtual_mac)
            next(iter(self._sockets.values())).setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, request)
        if new:
            self._join({solicited_node(vip) for vip in new}, index)

    def _join(self, groups: Iterable[IPv6Address], index: int) -> None:
        """Let the interface, and a switch that listens to who wants what, carry questions in these groups here."""
        try:
            self._groups = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            for group in groups:
                request = group.packed + struct.pack("i", index)
                self._groups.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
        except OSError as error:
            raise FilterError(
                f"{self.interface} cannot join the multicast groups of the IPv6 virtual IPs: {error.strerror}",
                f"IPv6 needs an MTU of 1280 bytes or more on {self.interface}, and a kernel that has not disabled it",
            ) from error

    # -- in and out -----------------------------------------------------------------------------------------------

    def listen(self, loop: asyncio.AbstractEventLoop, take: Callable[[bytes], None]) -> None:
        """Hand each frame to `take`, from the event loop, until closed."""
        self._loop = loop
        for opened in self._sockets.values():
            loop.add_reader(opened, self._readable, opened, take)

    def read(self) -> list[bytes]:
        """Give what has come in, at most `READS_AT_ONCE` frames of each family; waits for nothing."""
        return [frame for opened in self._sockets.values() for frame in self._read(opened)]

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames as they are. What the kernel refuses is counted, and told once."""
        for frame in frames:
            try:
                self._sockets[int.from_bytes(frame[12:14], "big")].send(frame)
            except OSError as error:
                self._failed(error)
            else:
                self._worked()

    def wait(self, timeout: float) -> None:
        """Wait until there is something to read, at most so many seconds; for callers without an event loop."""
        select.select(list(self._sockets.values()), (), (), timeout)

    def close(self) -> None:
        """Close the sockets; safe to repeat."""
        for rest in self._rests.values():
            rest.cancel()
        self._rests.clear()
        for opened in self._sockets.values():
            if self._loop is not None:
                self._loop.remove_reader(opened)
            opened.close()
        self._sockets.clear()
        if self._groups is not None:
            self._groups.close()
            self._groups = None

    # -- how ------------------------------------------------------------------------------------------------------

    def _readable(self, opened: socket.socket, take: Callable[[bytes], None]) -> None:
        frames = self._read(opened)
        for frame in frames:
            take(frame)
        if len(frames) == READS_AT_ONCE and self._loop is not None and opened.fileno() >= 0:
            self._loop.remove_reader(opened)
            self._rests[opened.fileno()] = self._loop.call_later(REST, self._awake, opened, take)

    def _awake(self, opened: socket.socket, take: Callable[[bytes], None]) -> None:
        if self._loop is not None:
            del self._rests[opened.fileno()]
            self._loop.add_reader(opened, self._readable, opened, take)

    def _read(self, opened: socket.socket) -> list[bytes]:
        frames: list[bytes] = []
        while len(frames) < READS_AT_ONCE:
            try:
                frames.append(opened.recv(_LONGEST))
            except BlockingIOError:
                break
            except OSError as error:
                self._failed(error)
                break
        self.heard += len(frames)
        if frames:
            self._worked()
        return frames

    def _failed(self, error: OSError) -> None:
        self.failures += 1
        if not self._troubled:
            self._troubled = True
            state = "is down or gone" if error.errno in _GONE else f"refuses frames ({error.strerror})"
            self._tell("warning", f"{self.interface} {state}: the virtual IPs are neither answered for nor announced")

    def _worked(self) -> None:
        if self._troubled:
            self._troubled = False
            self._tell("info", f"{self.interface} carries the frames that answer for the virtual IPs again")


def _refused(interface: str, error: OSError) -> FilterError:
    problem = f"no packet sockets on {interface}: {error.strerror}"
    if error.errno == errno.EPERM:
        return FilterError(problem, "they need the capability CAP_NET_RAW: run as root, or grant it")
    return FilterError(problem, f"ip link show {interface} should show it, up")
