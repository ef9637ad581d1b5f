"""Accepts connections of the console within limits: few from one address, and none that does not say what it wants."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from logging import Logger
from typing import Any, Final

from aiohttp import web

from hcsidecar.api.connection import ApiConnection, ErrorBody

MOST: Final = 512
"Connections at the same time."
MOST_EACH: Final = 128
"Of one address: an office has one, and a browser opens six."
HEAD_TIMEOUT: Final = 10.0
"Seconds for the TLS handshake, and for the head of the first request."
_KEPT: Final = 20.0
"Seconds between two requests on one connection."


class CountedListener(socket.socket):
    """A listening socket that ends connections above the limits as soon as it has accepted them."""

    most = MOST
    most_each = MOST_EACH
    is_ending = False

    def count(self) -> None:
        """Begin to count. Call it once."""
        self._open: Counter[str] = Counter()

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection. Raise BlockingIOError if there is none, or if it was one too many."""
        if self.is_ending:
            raise BlockingIOError
        connection, peer = super().accept()
        address = str(peer[0])
        if self._open.total() >= self.most or self._open[address] >= self.most_each:
            connection.close()
            # The loop asks again, as long as there are others.
            raise BlockingIOError
        self._open[address] += 1
        counted = _CountedSocket(connection.family, connection.type, connection.proto, fileno=connection.detach())
        counted.closed = lambda: self._forget(address)
        return counted, peer

    def _forget(self, address: str) -> None:
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]


class _CountedSocket(socket.socket):
    """A connection that says once that it is closed."""

    closed: Callable[[], None] | None = None

    def close(self) -> None:
        """Close it."""
        closed, self.closed = self.closed, None
        if closed is not None:
            closed()
        super().close()


def listen(address: str, port: int) -> CountedListener:
    """Listen on a TCP port; an empty address means all of this machine. Raise OSError if the system refuses."""
    family = socket.AF_INET6 if ":" in address or not address else socket.AF_INET
    listener = CountedListener(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if not address else 1)
        listener.bind((address, port))
        listener.listen(128)
        listener.setblocking(False)  # noqa: FBT003 - the socket module takes it so
        listener.count()
    except BaseException:
        listener.close()
        raise
    return listener


class ConsoleConnection(ApiConnection):
    """One connection; it ends if the head of its first request does not come in time."""

    __slots__ = ("_deadline",)

    def __init__(self, server: web.Server, *, logger: Logger, unreadable: Any, words: ErrorBody) -> None:
        """See `ApiConnection`."""
        super().__init__(server, logger=logger, unreadable=unreadable, words=words)
        self._keepalive_timeout = _KEPT
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._deadline = asyncio.get_running_loop().call_later(HEAD_TIMEOUT, self._expire)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop waiting."""
        self.request_has_come()
        super().connection_lost(exc)

    def request_has_come(self) -> None:
        """Take that the head of a request is there."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        self._deadline = None
        if self.transport is not None:
            self.transport.abort()
