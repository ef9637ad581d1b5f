"""Sends and receives ARP and neighbour-discovery frames, in portions that leave time for the heartbeats.

The tc and XDP programs of this package pass these frames untouched.
"""

import asyncio
import errno
import select
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from l2mode.core.settings import VirtualIp
from l2mode.kernel.errors import FilterError
from l2mode.kernel.packet_sockets import PacketSockets
from l2mode.kernel.record import TellOperator

TakeFrame = Callable[[bytes], None]

READS_AT_ONCE: Final = 32
REST: Final = 0.005
"""Seconds until the next read after `READS_AT_ONCE` frames; frames that do not fit into the sockets meanwhile are lost.

Measured, with the answers: 71,000 questions a second take a tenth of a core and delay the loop by a few ms at worst.
"""

_LONGEST: Final = 256
"Bytes that are read of a frame. Questions and claims have 42 to 86 bytes; one with more options than that is not read."

_GONE: Final = (errno.ENETDOWN, errno.ENODEV, errno.ENXIO)


class RawFrames:
    """The questions and claims about the virtual IPs on the wire of one interface.

    `virtual_mac` is set in flooded delivery; frames to it are then heard too. Raise FilterError if the sockets cannot
    be opened.
    """

    def __init__(
        self, interface: str, vips: Sequence[VirtualIp], *, tell: TellOperator, virtual_mac: bytes | None = None
    ) -> None:
        self.interface = interface
        self.heard = 0
        "Frames read since the start."
        self.failures = 0
        "Reads and sends that the kernel has refused since the start, mostly because the interface was down."
        self._vips = tuple(vips)
        self._virtual_mac = virtual_mac
        self._tell = tell
        self.trouble = ""
        "Why no frame can be sent or read now; empty while that works."
        self._refusal_told = False
        self._sockets = PacketSockets(interface, self._vips, virtual_mac)
        self._listener: tuple[asyncio.AbstractEventLoop, TakeFrame] | None = None
        self._rests: dict[socket.socket, asyncio.TimerHandle] = {}

    # -- in and out -----------------------------------------------------------------------------------------------

    def listen(self, loop: asyncio.AbstractEventLoop, take: TakeFrame) -> None:
        """Pass each frame to `take` from the event loop, until closed. `take` must not close this object."""
        self._listener = (loop, take)
        for opened in self._sockets.by_ethertype.values():
            loop.add_reader(opened, self._readable, opened, loop, take)

    def read(self) -> list[bytes]:
        """Return the frames that have come in, at most `READS_AT_ONCE` of each family, without waiting."""
        return [frame for opened in self._sockets.by_ethertype.values() for frame in self._read(opened)]

    def wait(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for something to read, for callers without an event loop."""
        select.select(list(self._sockets.by_ethertype.values()), (), (), timeout)

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames as they are. What the kernel refuses is counted and reported once.

        An interface that is down or gone is not reported: it is a condition of taking a share (`core.conditions`).
        """
        for frame in frames:
            try:
                self._sockets.by_ethertype[int.from_bytes(frame[12:14], "big")].send(frame)
            except OSError as error:
                self._failed(error)
            else:
                self._worked()

    def repair(self) -> None:
        """Move to the interface that has the name now, if the former one was removed and created again.

        This is quick enough to need no thread, and must be called on the thread of the event loop.
        """
        try:
            if socket.if_nametoindex(self.interface) == self._sockets.index:
                return
            moved = PacketSockets(self.interface, self._vips, self._virtual_mac)
        except (OSError, FilterError):  # there is none yet, or it is not ready: see `core.conditions`
            return
        listener = self._listener
        self.close()
        self._sockets = moved
        if listener is not None:
            self.listen(*listener)

    def change_vips(self, vips: Sequence[VirtualIp]) -> None:
        """Hear of these virtual IPs from now on. Raise FilterError, with all as before, if the sockets are refused.

        Like `repair`, this must be called on the thread of the event loop.
        """
        changed = PacketSockets(self.interface, vips, self._virtual_mac)
        listener = self._listener
        self.close()
        self._vips, self._sockets = tuple(vips), changed
        if listener is not None:
            self.listen(*listener)

    def close(self) -> None:
        """Close the sockets; safe to repeat."""
        for rest in self._rests.values():
            rest.cancel()
        self._rests.clear()
        if self._listener is not None:
            loop, _ = self._listener
            for opened in self._sockets.by_ethertype.values():
                loop.remove_reader(opened)
        self._listener = None
        self._sockets.close()

    # -- how ------------------------------------------------------------------------------------------------------

    def _readable(self, opened: socket.socket, loop: asyncio.AbstractEventLoop, take: TakeFrame) -> None:
        frames = self._read(opened)
        for frame in frames:
            take(frame)
        if len(frames) == READS_AT_ONCE:
            loop.remove_reader(opened)
            self._rests[opened] = loop.call_later(REST, self._wake, opened, loop, take)

    def _wake(self, opened: socket.socket, loop: asyncio.AbstractEventLoop, take: TakeFrame) -> None:
        del self._rests[opened]
        loop.add_reader(opened, self._readable, opened, loop, take)

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
        if error.errno in _GONE:
            self.trouble = f"{self.interface} is down or gone"
            return
        self.trouble = f"{self.interface} refuses frames ({error.strerror})"
        if not self._refusal_told:
            self._refusal_told = True
            self._tell("warning", f"{self.trouble}: the virtual IPs are neither answered for nor announced")

    def _worked(self) -> None:
        self.trouble = ""
        if self._refusal_told:
            self._refusal_told = False
            self._tell("info", f"{self.interface} carries the frames that answer for the virtual IPs again")
