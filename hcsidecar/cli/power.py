"""`hcsidecar power`: changes the power of a node while it runs."""

import asyncio
from typing import Annotated

import typer

from hcsidecar.api.client import ClientError, NodeClient
from hcsidecar.cli import completion
from hcsidecar.cli.asking import EveryNode, OneNode, choose, conclude, run, tell
from hcsidecar.cli.farm import AsJson, Config
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.membership.heartbeat import MAX_POWER


def power(
    number: Annotated[
        int | None, typer.Argument(metavar="N", min=0, max=MAX_POWER, help="The new power; with 0 it takes nothing.")
    ] = None,
    *,
    config: Config = None,
    node: OneNode = None,
    everyone: EveryNode = False,
    share: Annotated[
        str | None,
        typer.Option(
            "--share", metavar="NAME", autocompletion=completion.shares, help="Only in this share; by default in all."
        ),
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Go back to the power of the farm file.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change the power of a node: its weight in the shares, relative to the other nodes. Takes effect at once.

    Buckets move to or from the node, and no connection of a living node is cut. The daemon remembers the power, also
    over a restart, until it is changed again or reset. `hcsidecar status` shows it beside the power of the farm file,
    which is not changed.

    Exit status: 0 changed, 1 refused or the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar power 3 --node web2
    """
    if (number is None) != reset:
        raise typer.BadParameter("either a number from 0 on, or --reset", param_hint="N")
    chosen = choose(config, node, everyone=everyone)
    answers = run(_set(chosen.clients, number, share))
    if not as_json:
        for client, answer in zip(chosen.clients, answers, strict=True):
            tell(client.node, answer)
    conclude(chosen.clients, answers, as_json=as_json)


async def _set(clients: tuple[NodeClient, ...], number: int | None, share: str | None) -> list[CommandResult]:
    return list(await asyncio.gather(*(_set_one(client, number, share) for client in clients)))


async def _set_one(client: NodeClient, number: int | None, share: str | None) -> CommandResult:
    try:
        return await client.set_power(number, share=share)
    except ClientError as error:
        return CommandResult(ok=False, text=str(error))
