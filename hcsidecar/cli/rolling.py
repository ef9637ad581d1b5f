"""`hcsidecar rolling`: takes one node after the other, each when the one before is Ready again."""

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
from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable, parse_duration
from hcsidecar.core.rolling import Finish, ReportProgress, Rolling, RollingStep, TakeNode
from hcsidecar.events.journal import one_line

INTERVAL = 0.5
"Seconds between two requests for the farm's status."

LONGEST_LABEL = 60
"Characters of a command that are printed."

Visit = Callable[[NodeTable], Awaitable[str | None]]
"Does the work on one node; returns why it failed, or None."

Limit = Annotated[
    str,
    typer.Option(
        "--limit", metavar="DURATION", help="How long a node may take to become Ready again; then the command gives up."
    ),
]

rolling = typer.Typer(
    help="""Take one node after the other, each when the one before is Ready again.

    It begins only if every node that is not stopped is Ready. It skips stopped nodes, and gives up at the first node
    that refuses, that does not become Ready again, or without which fewer than [farm] keep_ready nodes would be Ready.
    Ctrl-C leaves the farm in its present state.
    """,
    no_args_is_help=True,
)


@rolling.command()
def restart(
    config: Config = None,
    limit: Limit = "5m",
    *,
    daemons: Annotated[
        bool, typer.Option("--daemons", help="Restart the daemon of every node instead; the application goes on.")
    ] = False,
) -> None:
    """Restart the application of every node, one after the other.

    With `--daemons`, restart the daemons: each drains its node, ends and starts again in its place, while the
    application goes on. Some changes of the settings wait for that; `hcsidecar apply` does it by itself.

    Exit status: 0 every node is done, 1 given up, with the reason and how far it came, 2 wrong command or farm file.

    Example: hcsidecar rolling restart
    """
    farm, seconds = farm_to_ask(config, None), _seconds(limit)
    if daemons:
        restart_daemons(farm, seconds)
    else:
        _roll(farm, "restart", _visit_with(farm, NodeCommand.RESTART), seconds)


def restart_daemons(farm: FarmFile, limit: float) -> None:
    """Restart the daemon of every node, one after the other. Exit with 1 if that is given up."""
    _roll(farm, "restart of the daemon", _visit_with(farm, NodeCommand.RESTART_DAEMON), limit)


def _visit_with(farm: FarmFile, command: NodeCommand) -> Visit:
    async def visit(node: NodeTable) -> str | None:
        answer = await client_for(farm, node.name).act(command)
        return None if answer.ok else answer.text

    return visit


@rolling.command(name="run", context_settings={"allow_interspersed_args": False})
def run_command(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="The command to run here for each node, after `--`.")
    ],
    config: Config = None,
    limit: Limit = "5m",
) -> None:
    """Drain each node, run a command for it on this machine, and resume it, one node after the other.

    The drain ends when nobody uses the node any more, or after [health] lame_duck. In the command, {node} and {address}
    are replaced by the node's name and address, which are also in HCSIDECAR_NODE and HCSIDECAR_ADDRESS. If the command
    fails, the node stays drained, and the nodes after it are not begun. The command may restart the daemon or the whole
    server; the node stays drained meanwhile.

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
    """Return the command with a node's name and address filled in."""
    return [part.replace("{node}", node.name).replace("{address}", node.address) for part in command]


async def _execute(command: list[str], node: NodeTable) -> str | None:
    """Run a command for a node; return why it failed, or None."""
    environment = {**os.environ, "HCSIDECAR_NODE": node.name, "HCSIDECAR_ADDRESS": node.address}
    try:
        process = await asyncio.create_subprocess_exec(*fill_in(command, node), env=environment)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    status = await process.wait()
    return f"the command failed: {how_it_ended(status)}" if status else None


async def _resume(client: NodeClient, limit: float) -> str | None:
    """Resume a node, whose daemon may be away for `limit` seconds. Return why it is not resumed, or None."""
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
    """Carry out the steps of the state machine until it has finished."""
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
    """Return the status document of the first daemon here that answers; None if none does."""
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
