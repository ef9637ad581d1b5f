"""`hcsidecar log`: writes an event of an operator or a script into the log of a node."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hcsidecar.api.client import ClientError, LocalNode, NodeClient
from hcsidecar.cli.asking import OneNode, choose, run
from hcsidecar.cli.farm import Config, refuse
from hcsidecar.core.plain_text import shortened
from hcsidecar.core.remarks import LONGEST_TEXT, OPERATOR, RemarkLevel, why_not_origin


def log(
    level: Annotated[RemarkLevel, typer.Argument(help="The level of the event.")],
    text: Annotated[list[str], typer.Argument(metavar="TEXT...", help="The text of the event.")],
    config: Config = None,
    node: OneNode = None,
    origin: Annotated[
        str | None,
        typer.Option(metavar="NAME", help='The author; by default "script" in a script, otherwise "operator".'),
    ] = None,
) -> None:
    """Write an event into the log of a node, where `hcsidecar logs` and systemd's journal show it.

    The event has the name of its author, which must not be an origin of hcsidecar's own events, such as membership.
    Several lines of text are joined, and a text of more than 1000 characters is cut.

    In a script that hcsidecar runs, no options are needed: the event goes to the node that runs the script.

    Exit status: 0 written, 1 the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar log warning "the database is read-only since 03:40"
    """
    said = shortened(" | ".join(line for line in " ".join(text).splitlines() if line.strip()), LONGEST_TEXT)
    if not said:
        raise typer.BadParameter("there is nothing to say")
    if origin is not None and (why := why_not_origin(origin)):
        raise typer.BadParameter(f"{origin!a} {why}", param_hint="--origin")
    origin = origin or ("script" if os.environ.get("HCSIDECAR_RUN") else OPERATOR)
    client = _own_node(config, node) or choose(config, node).clients[0]
    try:
        run(client.log(level, said, origin=origin))
    except ClientError as error:
        refuse(str(error))


def _own_node(config: Path | None, node: str | None) -> NodeClient | None:
    """Return the node that runs the script which gives this command, or None; does not need the farm file."""
    environment = os.environ
    name, socket = environment.get("HCSIDECAR_NODE"), environment.get("HCSIDECAR_SOCKET")
    if not (environment.get("HCSIDECAR_RUN") and name and socket and config is None and node in (None, name)):
        return None
    return NodeClient(name, LocalNode(name=name, socket=Path(socket)))
