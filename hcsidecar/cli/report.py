"""`hcsidecar report`: reports the state of a custom check."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.api.client import ClientError, LocalNode, NodeClient
from hcsidecar.cli import completion
from hcsidecar.cli.asking import OneNode, choose, complain, conclude, run, tell
from hcsidecar.cli.farm import REFUSED, AsJson, Config
from hcsidecar.core.documents import CommandResult


def report(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=completion.custom_checks, help="A check of type custom in the farm file."
        ),
    ],
    value: Annotated[
        str, typer.Argument(metavar="up|down", autocompletion=lambda: ("up", "down"), help="What it says from now on.")
    ],
    *,
    config: Config = None,
    node: OneNode = None,
    as_json: AsJson = False,
) -> None:
    """Report that a custom check passes (up) or fails (down). This is for the program that such a check runs.

    The report is valid until the next one; before the first one the application does not become Ready. In a script or
    program that the daemon runs, the report goes to the node that runs it. Such a program can report faster without the
    command line: $HCSIDECAR_PYTHON -m hcsidecar.safekit.command set -r NAME -v up.

    Exit status: 0 accepted, 1 refused or the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar report QUEUE down
    """
    match value:
        case "up" | "down":
            said = value
        case _:
            raise typer.BadParameter(f"{value!a}: up or down", param_hint="up|down")
    client = _of_the_script(os.environ) if node is None and config is None else None
    client = client or choose(config, node).clients[0]
    try:
        answer: CommandResult = run(client.report(name, said))
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(REFUSED) from None
    if not as_json:
        tell(client.node, answer)
    conclude([client], [answer], as_json=as_json)


def _of_the_script(environment: Mapping[str, str]) -> NodeClient | None:
    """Return the node that runs the script which gives this command, or None."""
    node, socket = environment.get("HCSIDECAR_NODE"), environment.get("HCSIDECAR_SOCKET")
    return NodeClient(node, LocalNode(name=node, socket=Path(socket))) if node and socket else None
