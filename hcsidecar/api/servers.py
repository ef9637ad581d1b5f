"""Runs the API's two servers: the unix socket of this node, and the handlers of connections over TCP."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from aiohttp.log import server_logger

from hcsidecar.api.connection import ApiConnection, ErrorBody
from hcsidecar.api.requests import refused
from hcsidecar.core.lost_files import REMOVED, REPLACED
from hcsidecar.web.accepting import Admission, ListeningSocket, end_accepting

MakeConnection = Callable[[], asyncio.Protocol]

SHUTDOWN = 1.0
"Seconds that requests in progress may take when the daemon ends."


class SocketInUseError(Exception):
    """Another daemon answers on the control socket."""


class ControlSocket:
    """A unix socket on which a web application is served, and its path."""

    def __init__(
        self, path: Path, make_connection: MakeConnection, admission: Admission | None, group: int | None
    ) -> None:
        self.path = path
        self._group = group
        self._admission = admission
        self._make_connection = make_connection
        self._server: asyncio.Server | None = None
        self._listener: ListeningSocket | None = None
        self._identity: tuple[int, int] | None = None

    async def open(self) -> None:
        """Begin to serve; errors as for `serve_unix`."""
        listener = listen(self.path, group=self._group)
        listener.admission = self._admission
        self._listener = listener
        self._identity = _identity(self.path)
        self._server = await asyncio.get_running_loop().create_server(self._make_connection, sock=listener)

    async def look(self) -> str | None:
        """Make a new socket if the path no longer leads to the old one, and return what happened to that.

        Requests in progress go on. The directory must exist; errors as for `serve_unix`.
        """
        found = _identity(self.path)
        if found == self._identity is not None:
            return None
        self._stop()
        self._identity = None
        await self.open()
        return REMOVED if found is None else REPLACED

    async def end(self) -> None:
        """Stop accepting connections, and remove the path; whoever was let in is served."""
        if self._listener is not None:
            await end_accepting(self._listener)
        self._stop()
        _remove(self.path, self._identity)

    def _stop(self) -> None:
        if self._server is not None:
            self._server.close()


@asynccontextmanager
async def serve_unix(
    app: web.Application,
    path: Path,
    *,
    logger: logging.Logger = server_logger,
    admission: Admission | None = None,
    group: int | None = None,
) -> AsyncIterator[ControlSocket]:
    """Serve on a unix socket that only its owner, and a group if one is given, may use; its directory must exist.

    `admission` limits the connections when descriptors are scarce. Raise SocketInUseError if a daemon of this node runs
    already, and OSError if the system refuses the socket.
    """
    async with _served(app, logger, unreadable=HTTPStatus.BAD_REQUEST, words=_say_why) as make_connection:
        control = ControlSocket(path, make_connection, admission, group)
        await control.open()
        try:
            yield control
        finally:
            await control.end()


@asynccontextmanager
async def saying(path: Path, text: Callable[[], str]) -> AsyncIterator[None]:
    """Send a text to whoever connects to a unix socket that only its owner may use; do nothing if that fails."""

    def say(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text().encode())
        writer.close()

    try:
        listener = listen(path)
    except (SocketInUseError, OSError):
        yield
        return
    identity = _identity(path)
    server = await asyncio.start_unix_server(say, sock=listener)
    try:
        yield
    finally:
        server.close()
        _remove(path, identity)


@asynccontextmanager
async def tcp_protocols(
    app: web.Application, *, logger: logging.Logger = server_logger
) -> AsyncIterator[MakeConnection]:
    """Yield the factory of the protocols that serve TCP connections, for the listeners."""
    # An answer to a stranger must not reveal anything, such as which software the daemon uses.
    async with _served(app, logger, unreadable=HTTPStatus.UNAUTHORIZED, words=_say_nothing) as make_connection:
        yield make_connection


@asynccontextmanager
async def _served(
    app: web.Application, logger: logging.Logger, *, unreadable: HTTPStatus, words: ErrorBody
) -> AsyncIterator[MakeConnection]:
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN)
    try:
        await runner.setup()
        assert runner.server is not None  # noqa: S101 - it has just been set up
        yield partial(ApiConnection, runner.server, logger=logger, unreadable=unreadable, words=words)
    finally:
        await runner.cleanup()


def _say_nothing(_status: HTTPStatus, _reason: str) -> bytes:
    return b""


def _say_why(status: HTTPStatus, reason: str) -> bytes:
    why = f"the request cannot be read: {reason.strip()}" if status == HTTPStatus.BAD_REQUEST else _INTERNAL_ERROR
    return refused(status, why).body


_INTERNAL_ERROR = "the daemon failed to serve this request; its log says why"


def listen(path: Path, *, group: int | None = None) -> ListeningSocket:
    """Listen on a unix socket, and replace one that a killed daemon left; errors as for `serve_unix`.

    The members of the group with the number `group` may use it too.
    """
    listener = ListeningSocket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        ensure_alone(path)
        listener.bind(os.fspath(path))
        # Nobody can connect before it listens, so nobody can use it with a wider mode.
        path.chmod(0o600)
        if group is not None:
            os.chown(path, -1, group)
            path.chmod(0o660)
        listener.listen(64)
        listener.setblocking(False)  # noqa: FBT003 - the socket module takes it so
    except BaseException:
        listener.close()
        raise
    return listener


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _remove(path: Path, identity: tuple[int, int] | None) -> None:
    """Remove our socket, but not that of another daemon which took the path after ours had been removed."""
    if _identity(path) == identity is not None:
        path.unlink()


def ensure_alone(path: Path) -> None:
    """Remove a socket on which nobody listens. Raise SocketInUseError if a daemon does, or OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(os.fspath(path))
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass  # the queue of connections is full: somebody listens, or did a moment ago
        except OSError as error:
            if error.errno != errno.ECONNREFUSED or not path.is_socket():
                raise
            path.unlink(missing_ok=True)
            return
    raise SocketInUseError(f"another daemon answers on {path}")
