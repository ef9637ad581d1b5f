"""Answers HAProxy's agent-check (its manual, 5.2): whoever connects gets one line, whatever it sends."""

import asyncio
from typing import cast

from hcsidecar.core.health import HealthFace
from hcsidecar.web.connections import Connections, close_our_half


class AgentCheck(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_connections", "_face", "_transport", "deadline")

    def __init__(self, face: HealthFace, connections: Connections) -> None:
        self._face = face
        self._connections = connections
        self._transport: asyncio.Transport
        self.deadline = asyncio.get_running_loop().time() + connections.limits.close_timeout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say the line and close our half, since of an `agent-send` something may be unread."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.admit(self)
        self._transport.write(self._face.agent_line)
        close_our_half(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Give up the connection's place."""
        self._connections.forget(self)

    def expire(self) -> None:
        """End a connection that was not closed."""
        self._transport.abort()

    def crowd_out(self) -> None:
        """End at once."""
        self._transport.abort()
