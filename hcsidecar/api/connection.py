"""One HTTP connection of the API: aiohttp's protocol, with our own answers to what aiohttp cannot read or serve.

aiohttp's answers would tell a stranger its version, and repeat the bytes that it could not read.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from logging import Logger
from typing import Final

from aiohttp import web

KEEP_ALIVE: Final = 75.0
"Seconds that an idle connection is kept."
LINGER: Final = 2.0
"Seconds in which the rest of a refused body may arrive; if we closed at once, the answer would be lost."

ErrorBody = Callable[[HTTPStatus, str], bytes]
"Takes a status and aiohttp's reason; returns the JSON document that says why a request is not served, or b''."


class ApiConnection(web.RequestHandler):
    """Serves one accepted connection for an aiohttp server."""

    __slots__ = ("_answered", "_unreadable", "_words")

    def __init__(self, server: web.Server, *, logger: Logger, unreadable: HTTPStatus, words: ErrorBody) -> None:
        """Answer requests that cannot be read with the status `unreadable` and the document of `words`."""
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=LINGER,
            auto_decompress=False,
            logger=logger,
            access_log=None,  # type: ignore[arg-type]  # so aiohttp's own runner says "none"
        )
        self._unreadable = unreadable
        self._words = words
        self._answered = False

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer that a request cannot be read, or that serving it failed, and end the connection."""
        if not self._answered and request.writer.output_size == 0 and self.transport is not None:
            self._answered = True
            self.log_exception("a request of %s", request.remote, exc_info=exc)
            said = self._unreadable if status < HTTPStatus.INTERNAL_SERVER_ERROR else HTTPStatus(status)
            body = self._words(said, message or "")
            kind = "Content-Type: application/json\r\n" if body else ""
            head = (
                f"HTTP/1.1 {said.value} {said.phrase}\r\n{kind}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode("ascii") + body)
        # aiohttp does this too when the answer has been sent already: nothing more is sent on this connection.
        raise ConnectionError("this request has been answered")
