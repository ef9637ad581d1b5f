"""Keeps the open connections few and fresh: none outstays its time, and a new one always gets in.

When a queue is full, its longest silent connection is thrown away. So whoever opens connections and says nothing takes
places from himself, never from the next probe. Connections of the API have a queue of their own: neither the API's
long waits nor somebody who fills it can crowd out a probe.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Protocol, Self

from hcsidecar.web.refusals import ConnectionRefusal

LEAST_PROBING = 8
LEAST_HANDED_OVER = 4
"Both: connections, however few descriptors a process may have."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients may take. The sum of both queues stays well below 1024 open files, the usual soft limit."""

    probing: int = 512
    "Connections that may probe, or have yet to say what they want."
    handed_over: int = 128
    "Connections that the API has."
    pipelined: int = 16
    "Requests that one read may bring."
    head_timeout: float = 5.0
    "Seconds from the first sign of a request to the end of its head; TLS handshake the same."
    idle_timeout: float = 75.0
    "Seconds between two requests. More than the usual probe intervals, lest a probe meets our closing."
    close_timeout: float = 2.0
    "Seconds that a client may take to read the last answer and close."
    sweep_interval: float = 1.0
    "Seconds between two looks at who has outstayed his time."

    @classmethod
    def within(cls, descriptors: int, *, own: int) -> Self:
        """Return the limits for a process that may open so many descriptors and needs `own` of them for itself."""
        most, free = cls(), max(0, descriptors - own)
        return cls(
            probing=min(most.probing, max(LEAST_PROBING, free * 4 // 5)),
            handed_over=min(most.handed_over, max(LEAST_HANDED_OVER, free // 5)),
        )


class OpenConnection(Protocol):
    """One that is kept here."""

    deadline: float
    "Time of the loop's clock at which it has outstayed its time."

    def expire(self) -> None:
        """End, since the deadline is over; it calls `forget` now or soon."""

    def crowd_out(self) -> None:
        """End at once, to make room."""


class ConnectionLimiter:
    """The open connections of all listeners of a daemon, and why others were turned away."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.refusals: Counter[ConnectionRefusal] = Counter()
        self._probing: OrderedDict[OpenConnection, None] = OrderedDict()
        self._handed_over: OrderedDict[OpenConnection, None] = OrderedDict()
        "Both: the longest silent first."
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._probing) + len(self._handed_over)

    def admit(self, connection: OpenConnection) -> None:
        """Take in a new connection, of which the deadline is set."""
        self._enter(self._probing, connection, self.limits.probing)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self.limits.sweep_interval, self._end_overdue)

    def hand_over(self, connection: OpenConnection) -> None:
        """Move a connection to those of the API."""
        del self._probing[connection]
        self._enter(self._handed_over, connection, self.limits.handed_over)

    def heard(self, connection: OpenConnection) -> None:
        """Note that a connection has just brought something worth having."""
        for queue in (self._probing, self._handed_over):
            if connection in queue:
                queue.move_to_end(connection)

    def forget(self, connection: OpenConnection) -> None:
        """Let go of a connection; safe to repeat."""
        self._probing.pop(connection, None)
        self._handed_over.pop(connection, None)

    def make_room(self) -> bool:
        """End the connection that has been silent longest, one of the API's if there is no other; False if none is."""
        for queue in (self._probing, self._handed_over):
            if queue:
                self._crowd_out_of(queue)
                return True
        return False

    def end_all(self) -> None:
        """Throw everybody out."""
        for connection in (*self._probing, *self._handed_over):
            connection.crowd_out()
            self.forget(connection)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _enter(self, queue: OrderedDict[OpenConnection, None], connection: OpenConnection, limit: int) -> None:
        if len(queue) >= limit:
            self._crowd_out_of(queue)
        queue[connection] = None

    def _crowd_out_of(self, queue: OrderedDict[OpenConnection, None]) -> None:
        longest_silent, _ = queue.popitem(last=False)
        self.refusals[ConnectionRefusal.CROWDED_OUT] += 1
        longest_silent.crowd_out()

    def _end_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in [connection for connection in self._probing if connection.deadline <= now]:
            connection.expire()
        # One timer for all, and none while nobody is here: a timer of its own for each would cost more than an answer.
        self._sweep = loop.call_later(self.limits.sweep_interval, self._end_overdue) if len(self) else None


def close_our_half(transport: asyncio.Transport) -> None:
    """Send what is to be sent and then the end, while the other side may still be sending.

    Closing a socket with unread bytes sends a reset, which may overtake our last words (RFC 9112, 9.6). TLS has no half
    to close; then all is closed.
    """
    if not transport.can_write_eof():
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:  # the other side has reset the connection in this moment
        transport.abort()


def peer_address(transport: asyncio.BaseTransport) -> str:
    """Give the address of the other end; empty when it has gone already."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
