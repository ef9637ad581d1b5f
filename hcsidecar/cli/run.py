"""`hcsidecar run`: hands over to the daemon, in the same process but without the command line's libraries."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(run)


def run(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="FILE",
            help="The farm file; else $HCSIDECAR_CONFIG, else /etc/hcsidecar/farm.toml.",
        ),
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The node to be; else the one that has this machine's address."),
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Write the log as one JSON object a line.")] = False,
) -> None:
    """Run this server's node of the farm, in the foreground, until SIGTERM.

    The module is started unless the operator's last word was `stop`. SIGTERM or Ctrl-C drains first (the health URL
    answers 404, the application goes on) for at most [health] lame_duck, then stops; a second one stops at once. SIGHUP
    reads key file and certificates anew, and says what of the farm file takes a restart.

    What passes by itself is waited for, and the log says for what: an address that comes late, a port still in use.

    Exit status: 0 stopped as told, 1 the node could not run, 2 the farm file or the command is wrong.

    Example: hcsidecar run --config farm.toml --node web1
    """
    # -P: a file named like a module of ours or of Python's in the working directory must not become part of the daemon.
    # no_debug_ranges: tracebacks name the line and not the column, which costs memory for every line of every library.
    arguments = [sys.executable, "-P", "-X", "no_debug_ranges", "-m", "hcsidecar.start"]
    if config is not None:
        arguments += ["--config", str(config)]
    if node is not None:
        arguments += ["--node", node]
    if log_json:
        arguments.append("--log-json")
    sys.stdout.flush()
    # The daemon runs for years on little memory: typer and rich do not come along.
    os.execv(sys.executable, arguments)  # noqa: S606 - our own interpreter and module
