"""`hcsidecar run`: hands over to the daemon, in the same process but without the command line's libraries."""

from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.cli import completion
from hcsidecar.daemon.launch import become_the_daemon


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
        typer.Option(
            metavar="NAME",
            autocompletion=completion.nodes,
            help="The node to be; else the one that has this machine's address.",
        ),
    ] = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Write the log as one JSON object a line.")] = False,
) -> None:
    """Run this server's node of the farm, in the foreground, until SIGTERM.

    The application is started unless the operator's last word was `stop`. SIGTERM or Ctrl-C drains first (the health
    URL answers 404, the application goes on) for at most [health] lame_duck, then stops; a second one stops at once.
    SIGHUP reads key file and certificates anew, and says what of the farm file takes a restart.

    What passes by itself is waited for, and the log says for what: an address that comes late, a port still in use.

    Exit status: 0 stopped as told, 1 the node could not run, 2 the farm file or the command is wrong.

    Example: hcsidecar run --config farm.toml --node web1
    """
    arguments: list[str] = []
    if config is not None:
        arguments += ["--config", str(config)]
    if node is not None:
        arguments += ["--node", node]
    if log_json:
        arguments.append("--log-json")
    become_the_daemon(arguments)
