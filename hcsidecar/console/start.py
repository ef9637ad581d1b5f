"""The entry point of the console: `python -m hcsidecar.console.start`, which `hcsidecar console` executes."""

import hcsidecar.daemon.resting_collector  # isort: skip

# Before whatever imports aiohttp.
import hcsidecar.daemon.slim  # noqa: F401  # isort: skip

import argparse
import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from hcsidecar import __version__
from hcsidecar.api.requests import refused
from hcsidecar.console.app import ConsoleApp
from hcsidecar.console.daemon_client import DaemonClient
from hcsidecar.console.details import DetailObserver
from hcsidecar.console.doorkeeper import Doorkeeper
from hcsidecar.console.handlers import Handlers
from hcsidecar.console.hub import Hub
from hcsidecar.console.listening import HEAD_TIMEOUT, ConsoleConnection, listen
from hcsidecar.console.mosaic import Mosaic
from hcsidecar.console.observer import FarmObserver
from hcsidecar.console.own_certificate import FarmAuthority, NoCertificateError, OwnCertificate
from hcsidecar.console.pages.rendering import Rendering
from hcsidecar.console.pages.services import Services
from hcsidecar.console.pages.serving import PageServer
from hcsidecar.console.pages.static_files import StaticFiles
from hcsidecar.console.pages.table import NAVIGATION
from hcsidecar.console.rolling import RollingCommands
from hcsidecar.core.console.kept_drafts import KeptDrafts
from hcsidecar.core.console.stream_format import HEARTBEAT
from hcsidecar.core.farmfile.values import LAST_PORT
from hcsidecar.system.memory import give_large_blocks_back, keep_tls_buffers_small
from hcsidecar.web.accepting import end_accepting

PORT: Final = 9453
SHUTDOWN: Final = 1.0
"Seconds that requests in progress may take when the console ends."
SOCKETS: Final = Path("/run/hcsidecar")

logger = logging.getLogger("hcsidecar.console")


class CannotServeError(Exception):
    """The console cannot run; the text says why, and what to do."""


def find_socket(given: Path | None, *, below: Path = SOCKETS) -> Path:
    """Return the daemon's socket for the console. Raise CannotServeError unless there is exactly one."""
    if given is not None:
        return given
    found = sorted(below.glob("*/*/console.sock"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise CannotServeError(
            f"no daemon has a socket for the console below {below}: start one (systemctl start hcsidecar), or name its"
            " socket with --socket"
        )
    raise CannotServeError(f"several nodes run here: choose one with --socket, of {', '.join(map(str, found))}")


def refuse_plain(address: str) -> None:
    """Raise CannotServeError unless the address is on loopback, where it may be served without TLS."""
    if not address or not ipaddress.ip_address(address).is_loopback:
        raise CannotServeError(
            "--http is for loopback only, where nobody reads passwords on the way: add --listen 127.0.0.1:9453"
        )


def tls_context(certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Return a context, with the operator's certificate if one is given. Raise CannotServeError if that is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise CannotServeError(
                f"{certificate} and {key or certificate} are no certificate with its key: {error}"
            ) from None
    return context


def _words(_status: HTTPStatus, reason: str) -> bytes:
    return refused(HTTPStatus.BAD_REQUEST, f"the request cannot be served: {reason.strip()[:200]}").body


@contextlib.asynccontextmanager
async def console(
    path: Path,
    address: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    own_certificate: bool = False,
    test_page: tuple[str, int] | None = None,
    heartbeat: float = HEARTBEAT,
) -> AsyncIterator[tuple[str, int]]:
    """Serve the console of the daemon with this socket; yield address and port.

    With `own_certificate` the context `tls` has none, and gets one that is kept good. `test_page` is where the test
    page is served, None: nowhere. `heartbeat` is for streams, in seconds. Raise OSError if it cannot listen, or
    NoCertificateError.
    """
    async with contextlib.AsyncExitStack() as stack:
        client = await stack.enter_async_context(DaemonClient(path))
        authority = FarmAuthority(client)
        certificate = OwnCertificate(client, authority, tls) if tls is not None and own_certificate else None
        if certificate is not None:
            await certificate.begin()
        observer, doorkeeper = FarmObserver(client), Doorkeeper(client)
        stack.push_async_callback(doorkeeper.close)
        details = DetailObserver(client, observer)
        hub = Hub(client, observer, details, lambda: rolling.reports().rolling, heartbeat=heartbeat)
        rolling = RollingCommands(client, hub.tell_rolling)
        stack.push_async_callback(hub.close)
        stack.push_async_callback(rolling.close)
        handlers = Handlers(
            client=client, observer=observer, doorkeeper=doorkeeper, rolling=rolling, hub=hub, version=__version__
        )
        static = StaticFiles()
        services = Services(
            handlers=handlers,
            doorkeeper=doorkeeper,
            observer=observer,
            details=details,
            hub=hub,
            drafts=KeptDrafts(),
            authority=authority,
            rendering=Rendering(static),
            static=static,
            navigation=NAVIGATION,
            secure=tls is not None,
        )
        app = ConsoleApp(handlers, doorkeeper, PageServer(services), secure=tls is not None).application()
        at = await _serve(stack, app, address, port, tls)
        if test_page is not None:
            mosaic = Mosaic(observer=observer, rendering=services.rendering, static=static)
            host, its_port = await _serve(stack, mosaic.application(), *test_page, None)
            logger.info("the test page listens on http://%s:%s", f"[{host}]" if ":" in host else host, its_port)
        if certificate is not None:
            # What goes wrong in it ends the console, and systemd starts that anew.
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(tasks.create_task(certificate.run(), name="certificate").cancel)
        yield at


async def _serve(
    stack: contextlib.AsyncExitStack, app: web.Application, address: str, port: int, tls: ssl.SSLContext | None
) -> tuple[str, int]:
    """Serve an application until the stack is closed; return address and port. Raise OSError if it cannot listen."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None  # noqa: S101 - it has just been set up
    make = partial(ConsoleConnection, runner.server, logger=logger, unreadable=HTTPStatus.BAD_REQUEST, words=_words)
    listener = listen(address, port)
    server = await asyncio.get_running_loop().create_server(
        make, sock=listener, ssl=tls, ssl_handshake_timeout=HEAD_TIMEOUT if tls is not None else None
    )
    stack.callback(server.close)
    stack.push_async_callback(end_accepting, listener)
    host, its_port = listener.getsockname()[:2]
    return host, its_port


async def _run(
    path: Path,
    address: str,
    port: int,
    *,
    tls: ssl.SSLContext | None,
    own_certificate: bool,
    test_page: tuple[str, int] | None,
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    running = console(path, address, port, tls=tls, own_certificate=own_certificate, test_page=test_page)
    async with running as (host, at):
        shown = f"[{host}]" if ":" in host else host
        logger.info(
            "hcsidecar %s: the console listens on %s://%s:%s",
            __version__,
            "http" if tls is None else "https",
            shown,
            at,
        )
        logger.info("it asks the daemon at %s", path)
        _tell_manager("READY=1")
        await ended.wait()
        _tell_manager("STOPPING=1")
    logger.info("the console has ended")


def _tell_manager(what: str) -> None:
    """Tell systemd (sd_notify(3)), if it has started the console."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if name:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection, contextlib.suppress(OSError):
            connection.sendto(what.encode(), f"\0{name[1:]}" if name.startswith("@") else name)


def _address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, :PORT, or HOST, with an IPv6 address in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if host:
        ipaddress.ip_address(host)
    if not (port.isascii() and port.isdecimal() and int(port) <= LAST_PORT):
        raise ValueError(port)
    return host, int(port)


def main() -> int:
    """Run the console, with the options of `hcsidecar console`, and return its exit status."""
    parser = argparse.ArgumentParser(prog="hcsidecar console", add_help=False)
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--listen", default=f":{PORT}")
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--test-page", default="")
    parser.add_argument("--certificate", type=Path)
    parser.add_argument("--key", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        test_page = _address(options.test_page) if options.test_page else None
    except ValueError:
        _complain(f"--test-page {options.test_page} is not ADDRESS:PORT, such as :9454")
        return 2
    try:
        address, port = _address(options.listen)
    except ValueError:
        _complain(f"--listen {options.listen} is not ADDRESS:PORT, such as 192.0.2.11:{PORT} or :{PORT}")
        return 2
    try:
        if options.http:
            refuse_plain(address)
        path = find_socket(options.socket)
        tls = None if options.http else tls_context(options.certificate, options.key)
    except CannotServeError as error:
        _complain(str(error))
        return 2
    keep_tls_buffers_small()
    give_large_blocks_back()
    # What is loaded stays until the end.
    gc.freeze()
    gc.enable()
    try:
        asyncio.run(
            _run(path, address, port, tls=tls, own_certificate=options.certificate is None, test_page=test_page)
        )
    except NoCertificateError as error:
        _complain(str(error))
        return 2
    except OSError as error:
        where = f"{options.listen} or {options.test_page}" if options.test_page else options.listen
        _complain(f"the console cannot listen on {where}: {error.strerror or error}")
        return 1
    return 0


def _complain(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
