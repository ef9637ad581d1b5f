"""Keeps open connections few and fresh: none stays longer than its time, and there is always room for a new one.

If a queue is full, its longest silent connection is ended. A client that opens connections and sends nothing therefore
takes places from itself, never from the next probe. Connections of the API have a queue of their own: neither the API's
long waits nor a client that fills this queue can crowd out a probe.
"""

import asyncio
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Protocol, Self

from hcsidecar.web.refusals import ConnectionRefusal

LEAST_PROBING = 8
LEAST_HANDED_OVER = 4
"The least size of both queues, in connections, however few descriptors a process may have."


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits for clients. The sum of both queues stays well below 1024 open files, the usual soft limit."""

    probing: int = 512
    "Connections that may probe, or have not yet sent a request."
    handed_over: int = 128
    "Connections that the API has."
    pipelined: int = 16
    "Requests that one read may bring."
    head_timeout: float = 5.0
    "Seconds from the first byte of a request to the end of its head; the same for a TLS handshake."
    idle_timeout: float = 75.0
    "Seconds between two requests: longer than the usual probe intervals, so that no probe meets a closing connection."
    close_timeout: float = 2.0
    "Seconds that a client may take to read the last answer and close."
    sweep_interval: float = 1.0
    "Seconds between two looks for overdue connections."

    @classmethod
    def within(cls, descriptors: int, *, own: int) -> Self:
        """Return the limits for a process that may open `descriptors` files and needs `own` of them for itself."""
        most, free = cls(), max(0, descriptors - own)
        return cls(
            probing=min(most.probing, max(LEAST_PROBING, free * 4 // 5)),
            handed_over=min(most.handed_over, max(LEAST_HANDED_OVER, free // 5)),
        )


class OpenConnection(Protocol):
    """A connection that `ConnectionLimiter` keeps."""

    deadline: float
    "When it is overdue, by the loop's clock."

    def expire(self) -> None:
        """Called when the deadline has passed: end, and call `forget` now or soon."""

    def crowd_out(self) -> None:
        """Called to make room: end at once."""


class ConnectionLimiter:
    """The open connections of all listeners of a daemon, and why others were refused."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.refusals: Counter[ConnectionRefusal] = Counter()
        self._probing: OrderedDict[OpenConnection, None] = OrderedDict()
        self._handed_over: OrderedDict[OpenConnection, None] = OrderedDict()
        "In both queues the longest silent connection is first."
        self._sweep: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._probing) + len(self._handed_over)

    def admit(self, connection: OpenConnection) -> None:
        """Take in a new connection, whose deadline is set."""
        self._enter(self._probing, connection, self.limits.probing)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self.limits.sweep_interval, self._end_overdue)

    def hand_over(self, connection: OpenConnection) -> None:
        """Move a connection to those of the API."""
        del self._probing[connection]
        self._enter(self._handed_over, connection, self.limits.handed_over)

    def heard(self, connection: OpenConnection) -> None:
        """Note that a connection has just sent something useful."""
        for queue in (self._probing, self._handed_over):
            if connection in queue:
                queue.move_to_end(connection)

    def forget(self, connection: OpenConnection) -> None:
        """Remove a connection; safe to repeat."""
        self._probing.pop(connection, None)
        self._handed_over.pop(connection, None)

    def make_room(self) -> bool:
        """End the longest silent connection, one of the API's if there is no other. Return False if there is none."""
        for queue in (self._probing, self._handed_over):
            if queue:
                self._crowd_out_of(queue)
                return True
        return False

    def end_all(self) -> None:
        """End every connection."""
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
        # There is one timer for all, and none while there is no connection: a timer for each would cost more than an
        # answer.
        self._sweep = loop.call_later(self.limits.sweep_interval, self._end_overdue) if len(self) else None


def close_our_half(transport: asyncio.Transport) -> None:
    """Send what is to be sent and then the end, while the other side may still be sending.

    Closing a socket with unread bytes sends a reset, which may overtake our last bytes (RFC 9112, 9.6). TLS has no half
    to close; both halves are closed then.
    """
    if not transport.can_write_eof():
        transport.close()
        return
    try:
        transport.write_eof()
    except OSError:  # the other side has just reset the connection
        transport.abort()


def peer_address(transport: asyncio.BaseTransport) -> str:
    """Return the address of the other end; empty if it is gone already."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if peer else ""
