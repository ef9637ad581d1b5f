"""Running the API's two doors: the unix socket of this node, and the handlers for connections that came over TCP."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from aiohttp import web
from aiohttp.log import server_logger

from hcsidecar.core.losses import REMOVED, REPLACED

KEEP_ALIVE = 75.0
"Seconds that an idle connection is kept."
LINGER = 2.0
"Seconds in which the rest of a body that nobody wants may come: closing at once would lose the answer."
SHUTDOWN = 1.0
"Seconds that requests under way may take when the daemon ends."


class SocketInUseError(Exception):
    """Another daemon answers on the control socket."""


class ControlSocket:
    """A unix socket on which an application is served, and the path by which it is found."""

    def __init__(self, runner: web.AppRunner, path: Path) -> None:
        self.path = path
        self._runner = runner
        self._site: web.SockSite | None = None
        self._identity: tuple[int, int] | None = None

    async def open(self) -> None:
        """Begin to serve; see serve_unix for errors."""
        listener = listen(self.path)
        self._identity = _identity(self.path)
        self._site = web.SockSite(self._runner, listener)
        await self._site.start()

    async def look(self) -> str | None:
        """Make the socket anew if it is not what its path leads to any more, and say what became of it.

        Requests under way go on. The directory must be there; errors as of serve_unix.
        """
        found = _identity(self.path)
        if found == self._identity is not None:
            return None
        if self._site is not None:
            await self._site.stop()
            self._site = self._identity = None
        await self.open()
        return REMOVED if found is None else REPLACED

    def remove(self) -> None:
        """Remove the path, when nobody is served any more."""
        _remove(self.path, self._identity)


@asynccontextmanager
async def serve_unix(app: web.Application, path: Path) -> AsyncIterator[ControlSocket]:
    """Serve on a unix socket that its owner alone may use; its directory must be there.

    SocketInUseError if a daemon of this node runs already; OSError as the system says.
    """
    runner = _runner(app, server_logger)
    await runner.setup()
    control = ControlSocket(runner, path)
    try:
        await control.open()
    except BaseException:
        await runner.cleanup()
        raise
    try:
        yield control
    finally:
        await runner.cleanup()
        control.remove()


@asynccontextmanager
async def tcp_protocols(
    app: web.Application, *, logger: logging.Logger = server_logger
) -> AsyncIterator[Callable[[], asyncio.Protocol]]:
    """Give the factory of protocols that serve a TCP connection, for whoever listens."""
    runner = _runner(app, logger)
    try:
        await runner.setup()
        yield cast("Callable[[], asyncio.Protocol]", runner.server)
    finally:
        await runner.cleanup()


def listen(path: Path) -> socket.socket:
    """Listen on a unix socket, in place of one that a killed daemon left; see serve_unix for errors."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        listener.bind(os.fspath(path))
        # Before it listens nobody can connect, so there is no moment with too wide a mode.
        path.chmod(0o600)
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
    """Remove our socket, but not one that another daemon has put there when somebody had removed ours."""
    if _identity(path) == identity is not None:
        path.unlink()


def _remove_stale(path: Path) -> None:
    """Remove a socket on which nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ECONNREFUSED or not path.is_socket():
                raise
            path.unlink(missing_ok=True)
            return
    raise SocketInUseError(f"another daemon answers on {path}")


def _runner(app: web.Application, logger: logging.Logger) -> web.AppRunner:
    return web.AppRunner(
        app,
        handle_signals=False,
        logger=logger,
        access_log=None,
        keepalive_timeout=KEEP_ALIVE,
        shutdown_timeout=SHUTDOWN,
        lingering_time=LINGER,
        auto_decompress=False,
    )
