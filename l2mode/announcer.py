"""Joins the speaker, which decides on ARP and neighbour discovery, to the packet sockets and the event loop's clock."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from math import inf

from l2mode.core.conflicts import REMEDY, Conflict, ConflictOver
from l2mode.core.settings import VirtualIp
from l2mode.core.speaker import Speaker
from l2mode.kernel.raw_frames import RawFrames
from l2mode.kernel.record import TellOperator


class Announcer:
    """Sends the answers and announcements of the speaker, on the thread of the event loop."""

    def __init__(
        self, speaker: Speaker, wire: RawFrames, *, loop: asyncio.AbstractEventLoop, tell: TellOperator
    ) -> None:
        self._speaker = speaker
        self._wire = wire
        self._loop = loop
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None
        self._until = -inf
        self._closed = False
        wire.listen(loop, self._hear)

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The virtual IPs that a machine outside the farm uses, each with that machine's MAC."""
        return self._speaker.conflicts

    def update(self, *, view: Collection[str], directors: Sequence[str | None], macs: Mapping[str, bytes]) -> None:
        """Pass a change on to the speaker; its frames are sent in the next turn of the loop."""
        self._speaker.update(view=view, directors=directors, macs=macs, now=self._loop.time())
        self._arm()

    def change_vips(self, vips: Sequence[VirtualIp]) -> None:
        """Speak for these virtual IPs from the next `update` on. Raise FilterError, with all as before, if refused."""
        self._wire.change_vips(vips)
        self._speaker.change_vips(vips)
        self._arm()

    def renew(self, until: float) -> None:
        """Speak until `until`, in seconds of the monotonic clock."""
        was_over = self._until <= self._loop.time()
        self._until = until
        self._speaker.renew(until)
        if was_over:
            self._arm()

    def repair(self) -> None:
        """Move to the interface that has the name now, if it is another one; safe to repeat."""
        self._wire.repair()

    def close(self) -> None:
        """Fall silent for good; safe to repeat."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._wire.close()

    def _hear(self, frame: bytes) -> None:
        self._wire.send(self._speaker.heard(frame, now=self._loop.time()))
        self._arm()

    def _say(self) -> None:
        self._timer = None
        said = self._speaker.due(now=self._loop.time())
        self._wire.send(frame for frame in said if isinstance(frame, bytes))
        for known in said:
            match known:
                case Conflict():
                    self._tell("error", f"{known}; {REMEDY}")
                case ConflictOver():
                    self._tell("info", str(known))
        self._arm()

    def _arm(self) -> None:
        due = self._speaker.next_at()
        if self._timer is not None:
            if self._timer.when() == due:
                return
            self._timer.cancel()
            self._timer = None
        if due < inf and not self._closed:
            self._timer = self._loop.call_at(due, self._say)
