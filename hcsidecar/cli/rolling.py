"""`hcsidecar rolling`: the nodes one at a time, each after the one before is Ready again."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Annotated

import typer

from hcsidecar.api.client import ClientError, NodeClient, client_for, local_nodes
from hcsidecar.api.control import NodeCommand
from hcsidecar.cli.asking import complain, farm_to_ask, run
from hcsidecar.cli.farm import REFUSED, Config
from hcsidecar.cli.waiting import drained, wait
from hcsidecar.core.documents import FarmStatus
from hcsidecar.core.exit_status import how_it_ended
from hcsidecar.core.farmfile.settings import FarmFile, NodeTable, parse_duration
from hcsidecar.core.rolling import Finish, ReportProgress, Rolling, RollingStep, TakeNode
from hcsidecar.events.journal import one_line

INTERVAL = 0.5
"Seconds between two looks at the farm."

LONGEST_LABEL = 60
"Characters of a command that are shown."

Visit = Callable[[NodeTable], Awaitable[str | None]]
"Does to a node what is to be done; gives the reason when that failed, else None."

Limit = Annotated[
    str,
    typer.Option(
        "--limit", metavar="DURATION", help="How long a node may take to be Ready again, then it is given up."
    ),
]

rolling = typer.Typer(
    help="""Take the nodes one at a time, each after the one before is Ready again.

    It begins only when every node that is not stopped is Ready, skips the stopped, and ends at the first that refuses,
    does not come back, or whose going would leave fewer than [farm] keep_ready nodes Ready. Ctrl-C leaves the farm as
    it is then.
    """,
    no_args_is_help=True,
)


@rolling.command()
def restart(config: Config = None, limit: Limit = "5m") -> None:
    """Restart the application of every node, one at a time.

    Exit status: 0 every node is done, 1 given up, with the reason and how far it came, 2 wrong command or farm file.

    Example: hcsidecar rolling restart
    """
    farm, seconds = farm_to_ask(config, None), _seconds(limit)

    async def visit(node: NodeTable) -> str | None:
        answer = await client_for(farm, node.name).act(NodeCommand.RESTART)
        return None if answer.ok else answer.text

    _roll(farm, "restart", visit, seconds)


@rolling.command(name="run", context_settings={"allow_interspersed_args": False})
def run_command(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="What to run here for each node, after `--`.")
    ],
    config: Config = None,
    limit: Limit = "5m",
) -> None:
    """Drain each node, run a command for it on this machine, and resume it, one node at a time.

    The drain ends when nobody uses the node any more, or after [health] lame_duck. In the command {node} and {address}
    stand for the node's name and address, which are in HCSIDECAR_NODE and HCSIDECAR_ADDRESS too. When the command
    fails, the node stays drained and no other is begun. The command may restart the daemon, or the whole server: the
    node stays drained over that.

    Exit status: 0 every node is done, 1 given up, with the reason and how far it came, 2 wrong command or farm file.

    Example: hcsidecar rolling run -- ssh root@{address} apt-get --yes upgrade
    """
    farm, seconds = farm_to_ask(config, None), _seconds(limit)

    async def visit(node: NodeTable) -> str | None:
        client = client_for(farm, node.name)
        answer = await client.act(NodeCommand.DRAIN)
        if not answer.ok:
            return answer.text
        verdict = await wait(client, drained(farm.health.lame_duck), lambda text: _say(f"{node.name}: {text}"))
        if not verdict.ok:
            return verdict.text
        _say(f"{node.name}: {verdict.text}")
        failure = await _execute(command, node)
        if failure is not None:
            return f"{failure}; it stays drained, `hcsidecar resume --node {node.name}` ends that"
        return await _resume(client, seconds)

    _roll(farm, " ".join(command)[:LONGEST_LABEL], visit, seconds)


def fill_in(command: list[str], node: NodeTable) -> list[str]:
    """Put a node's name and address into a command."""
    return [part.replace("{node}", node.name).replace("{address}", node.address) for part in command]


async def _execute(command: list[str], node: NodeTable) -> str | None:
    """Run a command for a node; say how it failed, or None."""
    environment = {**os.environ, "HCSIDECAR_NODE": node.name, "HCSIDECAR_ADDRESS": node.address}
    try:
        process = await asyncio.create_subprocess_exec(*fill_in(command, node), env=environment)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    status = await process.wait()
    return f"the command failed: {how_it_ended(status)}" if status else None


async def _resume(client: NodeClient, limit: float) -> str | None:
    """Resume a node, whose daemon may be away for `limit` seconds; say why it is not resumed, or None."""
    end = time.monotonic() + limit
    while True:
        try:
            answer = await client.act(NodeCommand.RESUME)
        except ClientError as error:
            if time.monotonic() >= end:
                return str(error)
            await asyncio.sleep(INTERVAL)
        else:
            return None if answer.ok else answer.text


def _roll(farm: FarmFile, command: str, visit: Visit, limit: float) -> None:
    machine = Rolling(command=command, keep_ready=farm.farm.keep_ready, limit=limit)
    end = run(_drive(machine, farm, visit))
    if not end.ok:
        complain(end.text)
        raise typer.Exit(REFUSED)
    _say(end.text)


async def _drive(machine: Rolling, farm: FarmFile, visit: Visit) -> Finish:
    """Do what the machine says, until it is over."""
    while True:
        steps: list[RollingStep] = machine.step(await _status(farm), now=time.monotonic())
        while steps:
            match steps.pop(0):
                case ReportProgress(text):
                    _say(text)
                case TakeNode(name):
                    steps += machine.taken(await _visit(visit, farm.node_named(name)), now=time.monotonic())
                case Finish() as end:
                    return end
        await asyncio.sleep(INTERVAL)


async def _visit(visit: Visit, node: NodeTable) -> str | None:
    try:
        return await visit(node)
    except ClientError as error:
        return str(error)
    except asyncio.CancelledError:
        complain(f"{node.name} is left as it is: see `hcsidecar status`")
        raise


async def _status(farm: FarmFile) -> FarmStatus | None:
    """Return the status document of the first daemon here that answers; None when none does."""
    for local in local_nodes(farm):
        try:
            return (await NodeClient(local.name, local).status()).document
        except ClientError:
            continue
    return None


def _seconds(duration: str) -> float:
    try:
        return parse_duration(duration)
    except ValueError as error:
        raise typer.BadParameter(f"{error}", param_hint="--limit") from None


def _say(text: str) -> None:
    typer.echo(one_line(text))
