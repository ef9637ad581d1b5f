"""`hcsidecar logs`: the events of one node or of all, and the next ones as they come."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import msgspec
import typer

from hcsidecar.cli.asking import Chosen, EveryNode, OneNode, choose, complain, run
from hcsidecar.cli.farm import REFUSED, AsJson, Config
from hcsidecar.client import ClientError, NodeClient
from hcsidecar.core.events import Level
from hcsidecar.journal import PAGE, Entry, Page, one_line
from hcsidecar.web.following import Notice

RETRY = 2.0
"Seconds until a daemon that has ended is asked again."
COLOURS = {Level.DEBUG: "bright_black", Level.INFO: None, Level.WARNING: "yellow", Level.ERROR: "red"}


def logs(
    *,
    config: Config = None,
    node: OneNode = None,
    everyone: EveryNode = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events, until Ctrl-C.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, max=PAGE, metavar="COUNT", help="How many of the last events.")
    ] = 100,
    level: Annotated[Level, typer.Option("--level", help="The least level.")] = Level.INFO,
    as_json: AsJson = False,
) -> None:
    """Show what has happened to a node: the last events that its daemon remembers, and with -f the next ones.

    With --all the events of all nodes are sorted by time, as far as their clocks agree. -f outlives restarts of the
    daemons, and says when a node does not answer or when events were missed. With --json each event is an object on a
    line of its own: {"number", "time", "node", "level", "origin", "message"}, the time in seconds since 1970.

    Under systemd the same lines are in the journal of the system, for longer: journalctl -u hcsidecar.

    Exit status: 0 shown, 1 a node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar logs --all -f --level warning
    """
    chosen = choose(config, node, everyone=everyone)
    run(_logs(chosen, _Wish(lines=lines, level=level, follow=follow, as_json=as_json)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What is to be shown, and how."""

    lines: int
    level: Level
    follow: bool
    as_json: bool


async def _logs(chosen: Chosen, wish: _Wish) -> None:
    pages = await asyncio.gather(*(_page(client, wish) for client in chosen.clients))
    entries = sorted((entry for page in pages if page for entry in page.events), key=lambda entry: entry.time)
    for entry in entries[max(0, len(entries) - wish.lines) :]:
        _show(entry, wish)
    if wish.follow and any(pages):
        await asyncio.gather(
            *(
                _follow(client, page.next if page else 0, wish)
                for client, page in zip(chosen.clients, pages, strict=True)
            )
        )
    if not all(pages):
        raise typer.Exit(REFUSED)


async def _page(client: NodeClient, wish: _Wish) -> Page | None:
    try:
        return await client.events(last=wish.lines, level=wish.level)
    except ClientError as error:
        complain(str(error))
        return None


async def _follow(client: NodeClient, after: int, wish: _Wish) -> None:
    """Show what comes, over the ends of daemons, until Ctrl-C."""
    silent = False
    while True:
        try:
            async with aclosing(client.follow(after=after, level=wish.level)) as lines:
                async for line in lines:
                    silent = False
                    after = line.number if isinstance(line, Entry) else after
                    _show(line, wish)
        except ClientError as error:
            if not silent:
                _show(Notice(node=client.node, notice=str(error)), wish)
            silent = True
        await asyncio.sleep(RETRY)


def _show(line: Entry | Notice, wish: _Wish) -> None:
    if wish.as_json:
        typer.echo(msgspec.json.encode(line).decode())
    elif isinstance(line, Entry):
        at = datetime.fromtimestamp(line.time, UTC).astimezone()
        level = typer.style(f"{line.level:<7}", fg=COLOURS[line.level])
        text = f"{one_line(line.node)} {level} {one_line(line.origin)}: {one_line(line.message)}"
        typer.echo(f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} {text}")
    else:
        complain(f"{line.node}: {line.notice}")
