"""`hcsidecar run`: replaces this process by the daemon, which does not load the command line's libraries."""

from typing import Annotated

import typer

from hcsidecar.cli.farm import Config, NodeToBe
from hcsidecar.daemon.launch import become_the_daemon


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(run)


def run(
    config: Config = None,
    node: NodeToBe = None,
    log_json: Annotated[bool, typer.Option("--log-json", help="Write the log as one JSON object per line.")] = False,
    take_file: Annotated[
        bool,
        typer.Option(
            "--take-file",
            help="Go by the farm file on the disk, and not by the settings in force; for this node alone.",
        ),
    ] = False,
    stay_removed: Annotated[
        bool,
        typer.Option(
            "--stay-removed",
            help="When the farm has removed this node, wait for SIGTERM and serve nobody, instead of ending: for"
            " containers, which their engine would start again and again.",
        ),
    ] = False,
) -> None:
    """Run this server's node of the farm, in the foreground, until SIGTERM.

    The application is started unless the operator's last word was `stop` or `leave`. SIGTERM or Ctrl-C first drains for
    at most [health] lame_duck (the health URL answers 404, the application goes on), and then ends the daemon; a second
    one ends it at once. SIGHUP reloads key file and certificates, and logs what of the farm file needs a restart.

    A node with a revision of the settings (see `hcsidecar apply`) goes by that, whatever has become of the farm file on
    the disk. --take-file is the way out where that cannot be: the files on the disk become a revision of this node,
    which no other node follows. `hcsidecar apply --take NODE` ends that.

    The start waits for conditions that pass by themselves, such as a late address or a port in use, and logs for what.

    Exit status: 0 ended as told, 1 the node could not run, 2 the farm file or the command is wrong, or
    the farm has removed this node (0 with --stay-removed).

    Example: hcsidecar run --config farm.toml --node web1
    """
    arguments: list[str] = []
    if config is not None:
        arguments += ["--config", str(config)]
    if node is not None:
        arguments += ["--node", node]
    if log_json:
        arguments.append("--log-json")
    if take_file:
        arguments.append("--take-file")
    if stay_removed:
        arguments.append("--stay-removed")
    become_the_daemon(arguments)
