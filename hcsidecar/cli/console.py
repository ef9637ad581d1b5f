"""`hcsidecar console`: replaces this process by the console, which does not load the command line's libraries."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.cli.farm import Config, NodeToBe, give_up
from hcsidecar.farmfile.dirs import CONSOLE_SOCKET, run_dir
from hcsidecar.farmfile.loading import FarmFileError, find_config, find_node, see


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(console)


def console(
    config: Config = None,
    node: NodeToBe = None,
    *,
    socket: Annotated[
        Path | None, typer.Option(metavar="PATH", help="The daemon's socket for the console, instead of a farm file.")
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS:PORT", help="Where to listen; without an address, on all of this machine.")
    ] = ":9453",
    test_page: Annotated[
        str | None,
        typer.Option(
            "--test-page",
            metavar="ADDRESS:PORT",
            help="Also serve there, to everybody and over HTTP, a page of tiles that say which server answers.",
        ),
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Without TLS; only on loopback, to try it.")] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Certificate in PEM, with its chain.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Its private key in PEM.")] = None,
) -> None:
    """Serve the farm in a browser, and its API for programs, over HTTPS, until SIGTERM.

    A process of its own, with no rights and no key: it asks the daemon of this node, and the other nodes through it.
    Without --socket and --config it takes the only socket below /run/hcsidecar. It answers people who have signed in
    and programs with an API token; `hcsidecar user` and `hcsidecar api-token` manage both.

    Without --certificate it has one of the farm's authority (`hcsidecar ca show`), and renews it by itself. Where the
    farm has none, it makes one for itself, which browsers do not know.

    Exit status: 0 ended as told, 1 it cannot listen, 2 the command is wrong, or there is no daemon's socket.

    Example: hcsidecar console --listen 192.0.2.11:9453
    """
    if (certificate is None) != (key is None):
        raise typer.BadParameter("--certificate and --key go together")
    if socket is None and (config is not None or node is not None):
        socket = _socket(config, node)
    arguments = ["--listen", listen, *(["--http"] if http else [])]
    given = {"--socket": socket, "--test-page": test_page, "--certificate": certificate, "--key": key}
    for option, value in given.items():
        arguments += [] if value is None else [option, str(value)]
    # As `hcsidecar run` becomes the daemon: see daemon/launch.py.
    python = [sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.console.start"]
    sys.stdout.flush()
    os.execv(sys.executable, [*python, *arguments])  # noqa: S606 - our own interpreter and module


def _socket(config: Path | None, node: str | None) -> Path:
    """Return the socket of a node's daemon. Exit with 2 if the farm file does not say which."""
    path = find_config(config)
    seen = see(path)
    if seen.farm is None:
        give_up(str(path), seen.problems)
    try:
        return run_dir(seen.farm, find_node(seen.farm, node)) / CONSOLE_SOCKET
    except FarmFileError as error:
        give_up(str(path), error.problems)
