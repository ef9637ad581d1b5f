"""ARP and neighbour-discovery frames from and to the wire, in portions that leave time for the heartbeats.

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
"""Seconds until the next look after `READS_AT_ONCE` frames; what does not fit into the sockets meanwhile is lost.

Measured, with the answers: 71,000 questions a second cost a tenth of a core and delay the loop by a few ms at worst.
"""

_LONGEST: Final = 256
"Bytes read of a frame: questions and claims are 42 to 86; one with more options than that is not read."

_GONE: Final = (errno.ENETDOWN, errno.ENODEV, errno.ENXIO)


class RawFrames:
    """The wire as seen by questions and claims about the virtual IPs, on one interface.

    `virtual_mac` is given in flooded delivery: frames to it are then heard too.
    Raises FilterError when the sockets cannot be had.
    """

    def __init__(
        self, interface: str, vips: Sequence[VirtualIp], *, tell: TellOperator, virtual_mac: bytes | None = None
    ) -> None:
        self.interface = interface
        self.heard = 0
        "Frames read since the start."
        self.failures = 0
        "Reads and sends that the kernel refused since the start, an interface that is down above all."
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
        """Hand each frame to `take`, which does not close this, from the event loop, until closed."""
        self._listener = (loop, take)
        for opened in self._sockets.by_ethertype.values():
            loop.add_reader(opened, self._readable, opened, loop, take)

    def read(self) -> list[bytes]:
        """Give what has come in, at most `READS_AT_ONCE` frames of each family; waits for nothing."""
        return [frame for opened in self._sockets.by_ethertype.values() for frame in self._read(opened)]

    def wait(self, timeout: float) -> None:
        """Wait until there is something to read, at most so many seconds; for callers without an event loop."""
        select.select(list(self._sockets.by_ethertype.values()), (), (), timeout)

    def send(self, frames: Iterable[bytes]) -> None:
        """Send frames as they are. What the kernel refuses is counted, and told once.

        That the interface is down or gone is not told: it is a condition of taking a share (`core.conditions`).
        """
        for frame in frames:
            try:
                self._sockets.by_ethertype[int.from_bytes(frame[12:14], "big")].send(frame)
            except OSError as error:
                self._failed(error)
            else:
                self._worked()

    def repair(self) -> None:
        """Move to the interface that has the name now, if it is another one: it was removed and made anew.

        Takes no time worth a thread, and must be called in the thread of the event loop.
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
