"""The commands start, stop, restart, drain, resume and leave; also registers all other commands that ask daemons."""

import asyncio
from collections.abc import Callable
from typing import Annotated

import typer

from hcsidecar.api.client import ClientError, NodeClient
from hcsidecar.api.control import NodeCommand
from hcsidecar.cli.asking import Chosen, EveryNode, OneNode, choose, conclude, run, tell
from hcsidecar.cli.explain import explain
from hcsidecar.cli.farm import AsJson, Config
from hcsidecar.cli.l2_check import l2_check
from hcsidecar.cli.log import log
from hcsidecar.cli.logs import logs
from hcsidecar.cli.metrics import metrics
from hcsidecar.cli.notify_test import notify_test
from hcsidecar.cli.power import power
from hcsidecar.cli.report import report
from hcsidecar.cli.rolling import rolling
from hcsidecar.cli.snapshot import snapshot
from hcsidecar.cli.status import status
from hcsidecar.cli.targets import targets
from hcsidecar.cli.waiting import INTERVAL, Judge, gone, stopped, wait
from hcsidecar.core.application.states import Role
from hcsidecar.core.documents import CommandResult

Say = Callable[[str, CommandResult], None]
"Prints a text about a node at once."

SEEN_WITHIN = 2.0
"Seconds in which a node must learn that another one drains; many heartbeats."


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command()(status)
    app.command()(start)
    app.command()(stop)
    app.command()(restart)
    app.command()(drain)
    app.command()(resume)
    app.command()(leave)
    app.command()(power)
    app.command()(targets)
    app.command()(explain)
    app.command(name="l2-check")(l2_check)
    app.command()(log)
    app.command()(logs)
    app.command()(report)
    app.command()(metrics)
    app.command(name="notify-test")(notify_test)
    app.command()(snapshot)
    app.add_typer(rolling, name="rolling")


def start(config: Config = None, node: OneNode = None, everyone: EveryNode = False, as_json: AsJson = False) -> None:
    """Start the application of a node. Returns at once; `hcsidecar status` shows when it is Ready.

    If the application is stopping, the stop is cancelled; if it drains, it takes traffic again. The daemon remembers
    the command: after a reboot the application starts by itself.

    Exit status: 0 it starts or is started, 1 refused or the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar start --node web2
    """
    _act(choose(config, node, everyone=everyone), NodeCommand.START, as_json=as_json)


def stop(
    config: Config = None,
    node: OneNode = None,
    everyone: EveryNode = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return at once, while the application drains.")] = False,
    as_json: AsJson = False,
) -> None:
    """Stop the application of a node, not its daemon. Returns when it has stopped.

    The health URL answers NOT FOUND at once. The application drains until nobody uses it any more, for at most [health]
    lame_duck, and then stops. Meanwhile the command prints what it waits for. Ctrl-C ends the command, not the stop; a
    second `stop` ends the drain at once. The daemon remembers the command: after a reboot the application stays stopped
    until `start`. If fewer than [farm] keep_ready nodes stay Ready, the command warns but does not refuse.

    Exit status: 0 stopped, 1 refused, cancelled or the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar stop && systemctl restart nginx && hcsidecar start
    """
    _act(choose(config, node, everyone=everyone), NodeCommand.STOP, as_json=as_json, judge=None if no_wait else stopped)


def restart(config: Config = None, node: OneNode = None, everyone: EveryNode = False, as_json: AsJson = False) -> None:
    """Drain, stop and start the application of a node. Returns at once.

    With --all every node does so at the same time; `hcsidecar rolling restart` takes one node after the other.

    Exit status: 0 it restarts, 1 refused or the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar restart
    """
    _act(choose(config, node, everyone=everyone), NodeCommand.RESTART, as_json=as_json)


def drain(
    config: Config = None,
    node: OneNode = None,
    everyone: EveryNode = False,
    force: Annotated[
        bool, typer.Option("--force", help="Drain even if fewer than [farm] keep_ready nodes stay Ready.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Keep new traffic away from a node, whose application serves on. Returns at once.

    The health URL answers NOT FOUND, and the other nodes take the node's share. `hcsidecar status` shows who still uses
    it. The node stays drained until `resume`, even after a reboot. The command is refused if fewer than [farm]
    keep_ready nodes would stay Ready, unless --force is given.

    Exit status: 0 it drains, 1 refused or the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar drain --node web2
    """
    _act(choose(config, node, everyone=everyone), NodeCommand.DRAIN, as_json=as_json, force=force)


def resume(config: Config = None, node: OneNode = None, everyone: EveryNode = False, as_json: AsJson = False) -> None:
    """End the drain of a node, so that it takes traffic again. Returns at once.

    Exit status: 0 the drain is over, 1 refused or the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar resume --all
    """
    _act(choose(config, node, everyone=everyone), NodeCommand.RESUME, as_json=as_json)


def leave(config: Config = None, node: OneNode = None, everyone: EveryNode = False, as_json: AsJson = False) -> None:
    """Take a node out of the farm: drain, stop and deregister it. Returns when that is done, or 20 s after the drain.

    For each [[target]] the node is deregistered at the load balancer; if that does not work in time, the daemon goes on
    trying. Behind an NLB the node is deregistered first, and takes traffic until the NLB has drained it. That takes two
    minutes at least and is not counted; a second `leave` ends it. The node stays out until `start`, even after a
    reboot. If fewer than [farm] keep_ready nodes stay Ready, the command warns but does not refuse.

    Exit status: 0 it has left, 1 it has not in time or the node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar leave && poweroff
    """
    _act(choose(config, node, everyone=everyone), NodeCommand.LEAVE, as_json=as_json, judge=gone())


def _act(
    chosen: Chosen, action: NodeCommand, *, as_json: bool, force: bool = False, judge: Judge | None = None
) -> None:
    """Give a command to the chosen nodes, wait if there is a judge, and exit with 1 if a node refused."""
    answers = run(_act_on(chosen.clients, action, as_json=as_json, force=force, judge=judge))
    conclude(chosen.clients, answers, as_json=as_json)


async def _act_on(
    clients: tuple[NodeClient, ...], action: NodeCommand, *, as_json: bool, force: bool, judge: Judge | None
) -> list[CommandResult]:
    say = _say_nothing if as_json else tell
    answers: list[CommandResult] = []
    taken: list[str] = []
    for client in clients:
        answer = await _act_once(client, action, force=force, taken=taken)
        answers.append(answer)
        taken += [client.node] if answer.ok else []
        say(client.node, answer)
    if judge is None:
        return answers
    # All nodes have begun, so wait for them at the same time.
    return await asyncio.gather(*(_finish(*pair, judge, say) for pair in zip(clients, answers, strict=True)))


async def _act_once(client: NodeClient, action: NodeCommand, *, force: bool, taken: list[str]) -> CommandResult:
    """Give the command to a node; `taken` are the nodes that have just accepted it."""
    try:
        if action is NodeCommand.DRAIN and not force and not await _knows(client, taken):
            text = (
                f"not asked, since it has not noticed yet that {', '.join(taken)} drained; --force drains all the same"
            )
            return CommandResult(ok=False, text=text)
        return await client.act(action, force=force)
    except ClientError as error:
        return CommandResult(ok=False, text=str(error))


async def _knows(client: NodeClient, taken: list[str]) -> bool:
    """Wait until a node knows that the others drain; otherwise it might accept a drain that leaves too few Ready."""
    limit = asyncio.get_running_loop().time() + SEEN_WITHIN
    while taken:
        status = (await client.status()).document
        rows = [status.of(name) for name in taken]
        if all(row.draining or not row.alive or row.role == Role.STOP for row in rows):
            break
        if asyncio.get_running_loop().time() >= limit:
            return False
        await asyncio.sleep(INTERVAL)
    return True


async def _finish(client: NodeClient, answer: CommandResult, judge: Judge, say: Say) -> CommandResult:
    """Wait until an accepted command is done, and return the result."""
    if not answer.ok:
        return answer
    verdict = await wait(client, judge, lambda text: say(client.node, CommandResult(ok=True, text=text)))
    done = CommandResult(ok=verdict.ok, text=verdict.text, warnings=answer.warnings)
    say(client.node, CommandResult(ok=verdict.ok, text=verdict.text))
    return done


def _say_nothing(_node: str, _answer: CommandResult) -> None:
    """Print nothing, because the JSON comes at the end."""
