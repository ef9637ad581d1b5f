"""Answers HAProxy's agent-check (its manual, 5.2): every connection gets one line, whatever it sends.

A prober has read the line once it hangs up: HAProxy reads to the end of the line first.
"""

import asyncio
from typing import cast

from hcsidecar.core.health import HealthFace
from hcsidecar.core.probers import LONGEST_FIELD, Prober
from hcsidecar.web.connections import ConnectionLimiter, close_our_half, peer_address


class AgentCheck(asyncio.Protocol):
    """One connection of an agent-check."""

    __slots__ = ("_address", "_connections", "_face", "_loop", "_ok", "_sent", "_transport", "deadline")

    def __init__(self, face: HealthFace, connections: ConnectionLimiter) -> None:
        self._face = face
        self._connections = connections
        self._transport: asyncio.Transport
        self._address = ""
        self._sent = b""
        "The beginning of what the prober has sent."
        self._ok: bool | None = None
        "Whether the line said that this node may get traffic; None if it is not known that the line was read."
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + connections.limits.close_timeout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the line and close our half of the connection; an `agent-send` may still be unread."""
        self._transport = cast("asyncio.Transport", transport)
        self._address = peer_address(transport)
        self._connections.admit(self)
        self._ok = self._face.answer.ok
        self._transport.write(self._face.agent_line)
        close_our_half(self._transport)

    def data_received(self, data: bytes) -> None:
        """Keep the beginning of an `agent-send`, which distinguishes probers."""
        self._sent = (self._sent + data)[:LONGEST_FIELD]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - HAProxy hangs up by a reset as well
        """Give up the connection's place. A prober that has hung up has read the line."""
        self._connections.forget(self)
        if self._ok is not None:
            prober = Prober.asking_agent(self._address, self._sent)
            self._face.probers.polled(prober, ok=self._ok, now=self._loop.time())

    def expire(self) -> None:
        """End a connection that the prober has not closed."""
        self._ok = None
        self._transport.abort()

    def crowd_out(self) -> None:
        """End the connection at once."""
        self._ok = None
        self._transport.abort()
