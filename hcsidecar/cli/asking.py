"""Shared by the commands that ask daemons: choosing the nodes, printing answers, and giving up."""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer

from hcsidecar.api.client import ClientError, ClientFailure, NodeClient, client_for, is_running_here
from hcsidecar.cli import completion
from hcsidecar.cli.farm import REFUSED, give_up
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.plain_text import said_of
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.copy import FarmCopy, find_copies
from hcsidecar.farmfile.loading import FarmFileError, LoadResult, find_config, see

T = TypeVar("T")

INTERRUPTED = 130
"Exit status after Ctrl-C, as in shells."

OneNode = Annotated[
    str | None,
    typer.Option(
        "--node",
        metavar="NAME",
        autocompletion=completion.nodes,
        help="The node; by default that of this machine. Another node is asked through a daemon of this machine.",
    ),
]
EveryNode = Annotated[bool, typer.Option("--all", help="Every node of the farm.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The farm, and the clients of the chosen nodes."""

    farm: FarmFile
    clients: tuple[NodeClient, ...]


def choose(
    config: Path | None, node: str | None, *, everyone: bool = False, failed: int = REFUSED, warns: bool = True
) -> Chosen:
    """Return the nodes to ask. Exit with 2 if the command or farm file is wrong, with `failed` if none can be asked.

    Without `warns` nothing is said of a farm file that is wrong or has changed: the answer of the daemon tells it.
    """
    if everyone and node is not None:
        raise typer.BadParameter("--node and --all exclude each other")
    farm = farm_to_ask(config, node, warns=warns)
    names = [each.name for each in farm.node] if everyone else [node]
    try:
        return Chosen(farm=farm, clients=tuple(client_for(farm, name) for name in names))
    except FarmFileError as error:
        give_up(f"farm {farm.farm.name}", error.problems)
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(failed if error.failure is ClientFailure.NOT_RUNNING else REFUSED) from None


def farm_to_ask(config: Path | None, node: str | None, *, stopped_too: bool = False, warns: bool = True) -> FarmFile:
    """Return the farm whose daemons are to be asked; neither farm file nor key file need be valid.

    If the file is wrong, or no daemon runs here with it, use the copy of a daemon that was started with it, preferably
    that of `node`; with `stopped_too` also the copy of one that has ended. With `warns` say in one line what is wrong.
    Exit with 2 if the farm cannot be found out.
    """
    path = find_config(config)
    seen = see(path)
    copy = None
    if seen.farm is None or not is_running_here(seen.farm):
        copy = _copy(path, seen, node, stopped_too=stopped_too)
    if seen.farm is None and copy is None:
        give_up(str(path), seen.problems)
    if seen.problems and warns:
        more = f", and {len(seen.problems) - 1} more" if len(seen.problems) > 1 else ""
        where = "" if seen.problems[0].path == str(path) else f"{path}: "
        what = f"{where}{seen.problems[0]}{more}: a daemon would not start with this, but one that runs obeys"
        complain(f"warning: {what}; hcsidecar check-config says more")
    elif copy is not None and warns:
        what = f"has changed since the daemon of {copy.node} was started, which still uses the former one"
        complain(f"warning: {path} {what}")
    return copy.farm if copy is not None else cast("FarmFile", seen.farm)


def _copy(path: Path, seen: LoadResult, node: str | None, *, stopped_too: bool) -> FarmCopy | None:
    copies = find_copies(path, seen.text)
    running = [copy for copy in copies if is_running_here(copy.farm)]
    if not running and not (stopped_too and seen.farm is None):
        return None
    copies = running or copies
    return next((copy for copy in copies if copy.node == node), copies[0] if copies else None)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine and return its result. Exit after Ctrl-C, which ends nothing that a daemon has begun."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def tell(node: str, answer: CommandResult) -> None:
    """Print a node's answer to a command."""
    for warning in answer.warnings:
        complain(f"{node}: warning: {warning}")
    if answer.ok:
        typer.echo(f"{node}: {one_line(answer.text)}")
    else:
        complain(said_of(node, answer.text))


def conclude(clients: Sequence[NodeClient], answers: Sequence[CommandResult], *, as_json: bool) -> None:
    """End a command that was given to nodes: print one JSON object per node if wanted, and exit with 1 on a refusal."""
    if as_json:
        for client, answer in zip(clients, answers, strict=True):
            line = {"node": client.node, "ok": answer.ok, "text": answer.text, "warnings": answer.warnings}
            typer.echo(json.dumps(line))
    if not all(answer.ok for answer in answers):
        raise typer.Exit(REFUSED)


def complain(text: str) -> None:
    """Print to standard error what is wrong, without control characters, because the text may come from elsewhere."""
    for line in text.splitlines():
        typer.echo(one_line(line), err=True)
