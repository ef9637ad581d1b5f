"""What the commands share that ask daemons: which nodes are meant, and how they give up."""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from hcsidecar.cli.farm import REFUSED, give_up, load_or_exit
from hcsidecar.client import ClientError, NodeClient, client_for
from hcsidecar.core.settings import FarmFile
from hcsidecar.farmfile import FarmFileError
from hcsidecar.journal import one_line
from hcsidecar.web.control import Answer

T = TypeVar("T")

INTERRUPTED = 130
"Exit status after Ctrl-C, as shells have it."

OneNode = Annotated[
    str | None,
    typer.Option(
        "--node",
        metavar="NAME",
        help="The node that is meant; else the one that this machine is. "
        "One that runs elsewhere is asked through a daemon that runs here.",
    ),
]
EveryNode = Annotated[bool, typer.Option("--all", help="Every node of the farm.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The farm, and how to ask the nodes that are meant."""

    farm: FarmFile
    clients: tuple[NodeClient, ...]


def choose(config: Path | None, node: str | None, *, everyone: bool = False, failed: int = REFUSED) -> Chosen:
    """Say whom to ask; exits with 2 when the command or the farm file is wrong, with `failed` when nobody can be."""
    if everyone and node is not None:
        raise typer.BadParameter("--node and --all exclude each other")
    farm = load_or_exit(config).farm
    names = [each.name for each in farm.node] if everyone else [node]
    try:
        return Chosen(farm=farm, clients=tuple(client_for(farm, name) for name in names))
    except FarmFileError as error:
        give_up(f"farm {farm.farm.name}", error.problems)
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(failed) from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; exits when Ctrl-C ends it, which ends nothing that a daemon has begun."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def tell(node: str, answer: Answer) -> None:
    """Say what a node answered to something that it was asked to do."""
    for warning in answer.warnings:
        complain(f"{node}: warning: {warning}")
    if answer.ok:
        typer.echo(f"{node}: {one_line(answer.text)}")
    else:
        complain(f"{node}: {answer.text}")


def conclude(clients: Sequence[NodeClient], answers: Sequence[Answer], *, as_json: bool) -> None:
    """End a command that was given to nodes: for JSON with an object on a line for each, and with 1 on a no."""
    if as_json:
        for client, answer in zip(clients, answers, strict=True):
            line = {"node": client.node, "ok": answer.ok, "text": answer.text, "warnings": answer.warnings}
            typer.echo(json.dumps(line))
    if not all(answer.ok for answer in answers):
        raise typer.Exit(REFUSED)


def complain(text: str) -> None:
    """Say what is wrong, where it does not get among the answers; what came from afar cannot steer the terminal."""
    for line in text.splitlines():
        typer.echo(one_line(line), err=True)
