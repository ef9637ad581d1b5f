"""`hcsidecar targets`: shows what a node is to be at its load balancers, what it is there, and what goes wrong."""

import asyncio
import json
from collections.abc import Mapping, Sequence

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from hcsidecar.api.client import ClientError, NodeClient, Told
from hcsidecar.cli.asking import EveryNode, OneNode, choose, complain, run
from hcsidecar.cli.farm import REFUSED, WRONG_FILE, AsJson, Config
from hcsidecar.cli.wide import show_table
from hcsidecar.core.targets.documents import TargetsReport, TargetStatus
from hcsidecar.core.targets.registration import Presence
from hcsidecar.events.journal import one_line

NO_TARGETS = "this farm file has no [[target]]: no load balancer that a node could be registered with"
_HEADINGS = ("NODE", "TARGET", "TYPE", "POLICY", "WANTED", "SEEN", "LOOKED", "NEXT", "REASON")
_OUT_OF_TRAFFIC = (Presence.UNHEALTHY, Presence.UNUSED, Presence.UNKNOWN)


def targets(config: Config = None, node: OneNode = None, everyone: EveryNode = False, as_json: AsJson = False) -> None:
    """Show what a node is at its load balancers, and what it is to be; one line for each [[target]].

    WANTED is registered, absent, or as it is (then nothing is changed). SEEN is what the balancer said when the node
    last LOOKED, and NEXT is when the node calls it again. REASON is that of the balancer, or why the node wants what it
    wants. A line below says what keeps the balancer from being as wanted, if anything does.

    With --json it prints an object with these keys; future versions only add keys:

    \b
    nodes               by node, an object; {"error"} if it cannot be asked
      node              its name
      targets           a list with an object for each [[target]]:
        name, type, policy
        desired, why    what it is to be there, and why
        observed        what it was when last observed, or null
        reason          the balancer's reason for that
        former          list: its older targets, to be deregistered
        observed_age    seconds since that observation, or null
        last_success_age   seconds since the last successful call, or null
        error           {"trouble", "text", "age"}, or null
        next_try        seconds until the next call, or null
        calls, failures  how many of each kind
        contested       true if somebody else changes it back
        leaving         true if deregistered first and serving until then

    Exit status: 0 all as wanted, 1 not, or a node could not be asked, 2 wrong command or farm file, or no [[target]].

    Example: hcsidecar targets --all
    """
    chosen = choose(config, node, everyone=everyone)
    if not chosen.farm.target:
        complain(NO_TARGETS)
        raise typer.Exit(WRONG_FILE)
    answers = run(ask_for_targets(chosen.clients))
    fine = True
    for name, answer in answers.items():
        if isinstance(answer, ClientError):
            fine = False
            complain(f"targets of {name}: {answer}")
        else:
            fine = fine and not any(each.why_not_as_wished() for each in answer.document.targets)
    if as_json:
        typer.echo(json.dumps({"nodes": {name: _as_json(answer) for name, answer in answers.items()}}, indent=2))
    else:
        show_table(_table({name: _seen(answer) for name, answer in answers.items()}))
    if not fine:
        raise typer.Exit(REFUSED)


async def ask_for_targets(clients: Sequence[NodeClient]) -> dict[str, Told[TargetsReport] | ClientError]:
    """Return the document of each node, or why there is none."""
    return dict(zip((client.node for client in clients), await asyncio.gather(*map(_ask_one, clients)), strict=True))


async def _ask_one(client: NodeClient) -> Told[TargetsReport] | ClientError:
    try:
        return await client.targets()
    except ClientError as error:
        return error


def troubles(report: TargetsReport) -> list[str]:
    """Return what keeps a node's balancers from being as wanted, without changes that are in progress."""
    return [
        f"target {each.name}: {each.why_not_as_wished()}"
        for each in report.targets
        if each.error is not None or each.contested
    ]


def _seen(answer: Told[TargetsReport] | ClientError) -> Sequence[TargetStatus]:
    return () if isinstance(answer, ClientError) else answer.document.targets


def _as_json(answer: Told[TargetsReport] | ClientError) -> object:
    return {"error": str(answer)} if isinstance(answer, ClientError) else msgspec.json.decode(answer.raw)


def _table(seen: Mapping[str, Sequence[TargetStatus]]) -> Table:
    """Return the targets as a table, without control characters, because they come from other machines."""
    shown = Table(box=None)
    for heading in _HEADINGS:
        shown.add_column(heading, overflow="fold")
    for node, sights in seen.items():
        for sight in sights:
            cells = [node, sight.name, sight.type, sight.policy, sight.desired, sight.observed or "-"]
            cells += [_age(sight.observed_age), _wait(sight.next_try)]
            shown.add_row(*(Text(one_line(cell)) for cell in cells), _reason(sight), style=_style(sight))
    return shown


def _reason(sight: TargetStatus) -> Text:
    former = f"; also registered: {', '.join(sight.former)}" if sight.former else ""
    lines = [(sight.reason or sight.why) + former]
    if sight.error is not None:
        lines.append(f"{sight.why_not_as_wished()}, {_age(sight.error.age)}")
    elif why := sight.why_not_as_wished():
        lines.append(f"{why}: {sight.why}" if sight.reason else why)
    return Text("\n".join(one_line(line) for line in lines))


def _style(sight: TargetStatus) -> str:
    if sight.error is not None or sight.contested:
        return "red"
    if sight.why_not_as_wished() or sight.observed in _OUT_OF_TRAFFIC:
        return "yellow"
    return "green"


def _age(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.0f} s ago"


def _wait(seconds: float | None) -> str:
    return "now" if seconds is None else f"in {seconds:.0f} s"
