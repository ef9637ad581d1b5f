"""`hcsidecar logs`: shows the events of one node or of all, and follows them; or shows the output of scripts."""

import asyncio
import os
import re
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from hcsidecar.api.client import ClientError, ClientFailure, NodeClient, client_for, local_nodes
from hcsidecar.cli.application_log import list_runs, show_run
from hcsidecar.cli.asking import EveryNode, OneNode, choose, complain, farm_to_ask, run
from hcsidecar.cli.event_options import parse_grep, parse_since, parse_until
from hcsidecar.cli.farm import REFUSED, AsJson, Config, give_up
from hcsidecar.cli.history import History, HistoryQuery, ask_stored, ask_through, read_history
from hcsidecar.core.documents import Entry, Notice
from hcsidecar.core.events import Level
from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.plain_text import said_of
from hcsidecar.core.terminals import takes_colours
from hcsidecar.events.journal import EventQuery, one_line
from hcsidecar.events.store_worker import NAME
from hcsidecar.events.stored import NothingStoredError, StoredEvents
from hcsidecar.farmfile.dirs import state_dir
from hcsidecar.farmfile.loading import FarmFileError

RETRY = 2.0
"Seconds until the next attempt to reach a daemon that has ended."
LINES = 100
"Events shown without --lines and --since."
COLOURS = {Level.DEBUG: "bright_black", Level.INFO: None, Level.WARNING: "yellow", Level.ERROR: "red"}


def logs(
    *,
    name: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="With --application: a run, or `last`.", show_default=False)
    ] = None,
    config: Config = None,
    node: OneNode = None,
    everyone: EveryNode = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new ones, until Ctrl-C.")] = False,
    lines: Annotated[
        int | None,
        typer.Option(
            "--lines",
            "-n",
            min=0,
            max=1_000_000,
            metavar="COUNT",
            help=f"How many of the last; by default {LINES}, and with --since all.",
            show_default=False,
        ),
    ] = None,
    level: Annotated[Level, typer.Option("--level", help="The lowest level to show.")] = Level.INFO,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help='"2h" for two hours ago, "03:40", "2026-11-28 03:40".'),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="WHEN", help="Only what is older, as for --since.")
    ] = None,
    grep: Annotated[
        str | None, typer.Option("--grep", metavar="REGEX", help="Only what matches this regular expression.")
    ] = None,
    application: Annotated[
        bool, typer.Option("--application", help="Show the output of scripts instead of events.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what has happened to a node: its last events, and with -f the next ones.

    With --all the events of all nodes are sorted by time, as far as their clocks agree. -f goes on over restarts of the
    daemons, and says when a node does not answer or when events were missed. --grep searches in `origin: message`; the
    case of letters matters unless it begins with (?i). With --json each event is an object on a line of its own:
    {"number", "time", "node", "level", "origin", "message"}, with the time in seconds since 1970.

    If the daemon of a node of this machine does not run, its stored events are shown.

    With --application it lists the runs of scripts whose output is kept, or shows the output of one: all of it, or the
    last -n lines. [log] and [application] log_kb in the farm file limit how many events and how much output is kept.

    Exit status: 0 shown, 1 a node could not be asked, 2 wrong command or farm file.

    Example: hcsidecar logs --all --since 03:30 --level warning
    """
    pattern = parse_grep(grep)
    if application:
        if since is not None or until is not None or (name is not None and everyone):
            raise typer.BadParameter("--application takes no --since and no --until, and a run no --all")
        chosen = choose(config, node, everyone=everyone)
        shown = (
            list_runs(chosen.clients, most=lines, as_json=as_json)
            if name is None
            else show_run(chosen.clients[0], name, lines=lines, follow=follow, pattern=pattern, as_json=as_json)
        )
        run(shown)
        return
    if name is not None:
        raise typer.BadParameter("a run is shown with --application")
    if follow and until is not None:
        raise typer.BadParameter("--follow and --until exclude each other")
    wanted = EventQuery(level=level, since=parse_since(since), until=parse_until(until), text=_plain(grep))
    how_many = lines if lines is not None or since is not None else LINES
    wish = HistoryQuery(lines=how_many, wanted=wanted, pattern=pattern)
    farm = farm_to_ask(config, node, stopped_too=True)
    run(_logs(farm, _clients(farm, node, everyone=everyone), wish, follow=follow, as_json=as_json))


def _clients(farm: FarmFile, node: str | None, *, everyone: bool) -> list[NodeClient | ClientError]:
    """Return the clients of the chosen nodes, or why there are none. Nodes here with stored events always have one."""
    if everyone and node is not None:
        raise typer.BadParameter("--node and --all exclude each other")
    clients: list[NodeClient | ClientError] = []
    for name in [each.name for each in farm.node] if everyone else [node]:
        try:
            clients.append(client_for(farm, name))
        except FarmFileError as error:
            give_up(f"farm {farm.farm.name}", error.problems)
        except ClientError as error:
            here = [each for each in local_nodes(farm) if each.name == name and _stored_at(farm, each.name).exists()]
            clients.append(NodeClient(here[0].name, here[0]) if here else error)
    return clients


async def _logs(
    farm: FarmFile, chosen: Sequence[NodeClient | ClientError], wish: HistoryQuery, *, follow: bool, as_json: bool
) -> None:
    clients = [client for client in chosen if isinstance(client, NodeClient)]
    for text in dict.fromkeys(str(error) for error in chosen if isinstance(error, ClientError)):
        complain(text)
    found = await asyncio.gather(*(_history(farm, client, wish) for client in clients))
    entries = sorted((entry for each in found if each for entry in each.entries), key=lambda entry: entry.time)
    for entry in entries if wish.lines is None else entries[max(0, len(entries) - wish.lines) :]:
        _show(entry, as_json=as_json)
    if follow and any(found):
        await asyncio.gather(
            *(
                _follow(client, each.next if each else 0, wish, as_json=as_json)
                for client, each in zip(clients, found, strict=True)
            )
        )
    if not all(found) or len(clients) < len(chosen):
        raise typer.Exit(REFUSED)


async def _history(farm: FarmFile, client: NodeClient, wish: HistoryQuery) -> History | None:
    try:
        history: History | None = await read_history(ask_through(client, wish), wish)
    except ClientError as error:
        complain(str(error))
        if error.failure is not ClientFailure.NOT_RUNNING or client.via.name != client.node:
            return None
        history = await _stored(farm, client.node, wish)
    if history is not None and history.lacking:
        complain(f"{client.node}: {history.lacking}")
    return history


async def _stored(farm: FarmFile, node: str, wish: HistoryQuery) -> History | None:
    path = _stored_at(farm, node)
    try:
        stored = StoredEvents(path, node=node)
        try:
            history = await read_history(ask_stored(stored, node, wish), wish)
        finally:
            stored.close()
    except NothingStoredError as error:
        complain(f"{node}: its last events cannot be read either: {error}")
        return None
    complain(f"{node}: showing the events that it has stored in {path}")
    return history


async def _follow(client: NodeClient, after: int, wish: HistoryQuery, *, as_json: bool) -> None:
    """Print new events until Ctrl-C, over restarts of the daemon."""
    silent = False
    while True:
        try:
            async with aclosing(client.follow(after=after, level=wish.wanted.level)) as lines:
                async for line in lines:
                    silent = False
                    after = line.number if isinstance(line, Entry) else after
                    if not isinstance(line, Entry) or wish.takes(line):
                        _show(line, as_json=as_json)
        except ClientError as error:
            if not silent:
                _show(Notice(node=client.node, notice=str(error)), as_json=as_json)
            silent = True
        await asyncio.sleep(RETRY)


def _show(line: Entry | Notice, *, as_json: bool) -> None:
    if as_json:
        typer.echo(msgspec.json.encode(line).decode())
    elif isinstance(line, Entry):
        at = datetime.fromtimestamp(line.time, UTC).astimezone()
        level = f"{line.level:<7}"
        if takes_colours(os.environ):
            level = typer.style(level, fg=COLOURS[line.level])
        text = f"{one_line(line.node)} {level} {one_line(line.origin)}: {one_line(line.message)}"
        typer.echo(f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} {text}")
    else:
        complain(said_of(line.node, line.notice))


def _stored_at(farm: FarmFile, node: str) -> Path:
    return state_dir(farm, farm.node_named(node)) / NAME


def _plain(grep: str | None) -> str:
    """Return the pattern if it is plain text, which the daemon can search for; otherwise an empty string."""
    return grep if grep and re.fullmatch(r"[\w :,;=/%@#&<>!~'\"-]{1,200}", grep, re.ASCII) else ""
