"""`hcsidecar snapshot`: collects for support what has happened on one node or on all, or shows what was collected."""

import asyncio
import json
import os
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from hcsidecar import __version__
from hcsidecar.api.client import ClientError, NodeClient, client_for
from hcsidecar.api.routes import SNAPSHOT_TAKES
from hcsidecar.cli.asking import EveryNode, OneNode, complain, run
from hcsidecar.cli.event_options import parse_grep, parse_since
from hcsidecar.cli.farm import REFUSED, WRONG_FILE, AsJson, Config
from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.farmfile.values import parse_duration
from hcsidecar.core.snapshot_contents import (
    CONTENTS,
    INDEX,
    NodeParts,
    PackedError,
    Part,
    contents,
    index,
    lacking,
    members,
    room_for_each,
    unpack,
)
from hcsidecar.core.snapshot_timeline import as_text, merged
from hcsidecar.events.journal import one_line
from hcsidecar.farmfile.dirs import control_socket, state_dir
from hcsidecar.farmfile.loading import FarmFileError, find_config, see
from hcsidecar.snapshot.archive import ArchiveError, NewFile, archive, events_in
from hcsidecar.snapshot.node import collect
from hcsidecar.snapshot.where import Where, find_where, stored_nodes

LAST: Final = "3d"
"How far back events are taken."
WHOLE: Final = 55.0
"Seconds for all nodes."
AT_ONCE: Final = 16
"Nodes that are asked at the same time."
HERE: Final = "here"
"Stands for this machine if no node of the farm is known to be on it."
_THE_NODE: Final = "all"


def snapshot(
    *,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write, such as /tmp/web1.zip.")],
    config: Config = None,
    node: OneNode = None,
    everyone: EveryNode = False,
    last: Annotated[str, typer.Option("--last", metavar="DURATION", help="How far back events are taken.")] = LAST,
    read: Annotated[bool, typer.Option("--read", help="Show the events in FILE instead of writing it.")] = False,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="WHEN", help='With --read: "2h" before now, "03:40", "2026-11-28 03:40".'),
    ] = None,
    grep: Annotated[str | None, typer.Option("--grep", metavar="REGEX", help="With --read: only what matches.")] = None,
    as_json: AsJson = False,
) -> None:
    """Collect for support what is known of a node, in one zip archive without secrets; --read shows its events.

    The archive has for each node its events, the output of recent scripts, the farm file, what check-config finds,
    revisions, status, targets, metrics, what l2-check finds, versions, the service, the processes, and what the kernel
    has for this farm: addresses, routes, filters, sockets, settings and lines of its log. README.txt in it says what
    each file is, and what is missing and why.

    It needs no daemon: what a daemon that is dead or hangs cannot tell is read from the files of the node. A farm file
    that is wrong and a damaged store of events are no obstacle either. With --all the other nodes are asked through a
    daemon of this machine, and each makes its own part; one that does not answer is named. Nothing takes longer than a
    minute. Each file has 2 MiB at most, a node 6 MiB, all 64 MiB before compression; the oldest lines of logs are left
    out first.

    Secrets are replaced by (hidden) before anything leaves a node: those of the key file, of variables whose names say
    that they are secret, of URLs, and of files with passwords, tokens and private keys. Hosts, addresses and the output
    of scripts stay: look through the archive before you pass it on. It can be read by its owner only (mode 0600). Run
    it as root, or as the daemon's user: others may read little.

    --read prints the events of all nodes in FILE by time, in UTC, and unpacks nothing to the disk. With --json each is
    an object on a line of its own, as with `logs`. Without --read, --json prints {"file", "bytes", "nodes": {NODE:
    {"answered", "lacking": {PART: why}}}}.

    Exit status: 0 written or shown, 1 a daemon did not answer, so that something is missing, or FILE could not be
    written or read, 2 wrong command.

    Example: hcsidecar snapshot /tmp/farm.zip --all
    """
    if read:
        if everyone or node is not None:
            raise typer.BadParameter("--read takes neither --node nor --all: it shows all nodes in FILE")
        _show(file, since=parse_since(since), pattern=parse_grep(grep), as_json=as_json)
        return
    if since is not None or grep is not None:
        raise typer.BadParameter("--since and --grep go with --read; --last says how far back events are taken")
    if everyone and node is not None:
        raise typer.BadParameter("--node and --all exclude each other")
    after = time.time() - _duration(last)
    if os.path.lexists(file):
        complain(f"{file} is there already: name another file, or remove it")
        raise typer.Exit(WRONG_FILE)
    try:
        new = NewFile(file)
    except OSError as error:
        complain(f"cannot write {file}: {error.strerror}\nname a file in a directory that you may write to")
        raise typer.Exit(REFUSED) from None
    try:
        _make(new, _choose(find_config(config), node, everyone=everyone), after=after, as_json=as_json)
    finally:
        new.remove()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """A node that is to be in the snapshot, and how it is had: on this machine, from its daemon, or why not at all."""

    node: str
    where: Where | None = None
    client: NodeClient | None = None
    why_not: str = ""


def _choose(config: Path, node: str | None, *, everyone: bool) -> list[_Wanted]:
    """Return the nodes that are wanted, whatever state the farm file is in. Exit with 2 if there is no such node."""
    own = find_where(config, node)
    farm = own.farm
    if farm is None:
        complain(f"warning: {config} is wrong, so only what is on this machine is collected; check-config says more")
        stored = dict(stored_nodes(see(config).text))
        wanted = {name: path for name, path in stored.items() if node in (None, name)}
        found = [
            _Wanted(node=name, where=Where(config=config, node=name, state_dir=path)) for name, path in wanted.items()
        ]
        return found or [_Wanted(node=node or HERE, where=own)]
    names = [each.name for each in farm.node]
    if node is not None and node not in names:
        complain(f"farm {farm.farm.name} has no node {node}: there are {', '.join(names)}")
        raise typer.Exit(WRONG_FILE)
    here = [name for name in names if _is_here(farm, name)]
    if not everyone:
        names = [node] if node is not None else [own.node] if own.node is not None else here
    if not names:
        return [_Wanted(node=HERE, where=own)]
    return [_wanted(config, farm, name, is_here=name in here or name == own.node != node) for name in names]


def _wanted(config: Path, farm: FarmFile, name: str, *, is_here: bool) -> _Wanted:
    if is_here:
        return _Wanted(node=name, where=find_where(config, name))
    try:
        client = client_for(farm, name)
    except (ClientError, FarmFileError) as error:
        return _Wanted(node=name, why_not=str(error).replace("\n", "; "))
    return _Wanted(node=name, client=NodeClient(name, client.via, timeout=SNAPSHOT_TAKES + 8))


def _is_here(farm: FarmFile, name: str) -> bool:
    """Return whether this machine has files of a node, or this user may not find out."""
    me = farm.node_named(name)
    try:
        return state_dir(farm, me).exists() or control_socket(farm, me).exists()
    except PermissionError:
        return True
    except (OSError, FarmFileError):
        return False


def _make(new: NewFile, wanted: list[_Wanted], *, after: float, as_json: bool) -> None:
    """Collect the nodes, write the archive and say so. Exit with 1 if it cannot be written, or a node is not in it."""
    made_at = time.time()
    nodes = run(_collect(wanted, after=after))
    when = datetime.fromtimestamp(made_at, UTC)
    told = contents(nodes, made_at=f"{when:%Y-%m-%d %H:%M:%S} UTC", by=f"hcsidecar {__version__}")
    listed = msgspec.json.format(msgspec.json.encode(index(nodes, made_at=made_at, version=__version__)), indent=2)
    local = time.localtime(made_at)
    content = archive(
        [(CONTENTS, told), (INDEX, listed.decode() + "\n"), *members(nodes)],
        at=(local.tm_year, local.tm_mon, local.tm_mday, local.tm_hour, local.tm_min, local.tm_sec),
    )
    try:
        new.place(content)
    except OSError as error:
        complain(f"cannot write {new.path}: {error.strerror}: nothing is left of it\nname a file on another disk")
        raise typer.Exit(REFUSED) from None
    missing = lacking(nodes)
    if as_json:
        about = {node.node: {"answered": node.answered, "lacking": missing[node.node]} for node in nodes}
        typer.echo(json.dumps({"file": str(new.path), "bytes": len(content), "nodes": about}, indent=2))
    else:
        typer.echo(f"{new.path}: {len(content) // 1024 + 1} KiB; {CONTENTS} in it says what is there and what is not")
    if not all(node.answered for node in nodes):
        raise typer.Exit(REFUSED)


async def _collect(wanted: list[_Wanted], *, after: float) -> list[NodeParts]:
    """Return the nodes in the same order, each with what could be had of it in time."""
    places = asyncio.Semaphore(AT_ONCE)
    room = room_for_each(len(wanted))
    tasks = [asyncio.create_task(_collect_one(each, places, after=after, room=room)) for each in wanted]
    _, late = await asyncio.wait(tasks, timeout=WHOLE)
    for task in late:
        task.cancel()
    return [
        _nothing(each.node, f"it was not ready within {WHOLE:g} s") if task in late else task.result()
        for each, task in zip(wanted, tasks, strict=True)
    ]


async def _collect_one(wanted: _Wanted, places: asyncio.Semaphore, *, after: float, room: int) -> NodeParts:
    async with places:
        begun = time.monotonic()
        if wanted.where is not None:
            complain(f"{wanted.node}: reading its files and asking its daemon")
            found = await collect(wanted.where, since=after, room=room)
            found = msgspec.structs.replace(found, node=wanted.node)
        elif wanted.client is not None:
            complain(f"{wanted.node}: asking its daemon")
            found = await _ask(wanted.client, after=after, room=room)
        else:
            found = _nothing(wanted.node, wanted.why_not)
    what = "done" if found.answered else f"its daemon did not answer: {_why(found)}"
    complain(f"{wanted.node}: {what}, {time.monotonic() - begun:.1f} s")
    return found


async def _ask(client: NodeClient, *, after: float, room: int) -> NodeParts:
    try:
        # A node that hangs is found out with a question that takes no time.
        await client.status()
        told = await client.snapshot(since=after, room=room)
        return unpack(told.packed, node=client.node, room=room)
    except (ClientError, PackedError) as error:
        return _nothing(client.node, str(error).replace("\n", "; "))


def _nothing(node: str, why: str) -> NodeParts:
    part = Part(name=_THE_NODE, about="everything of this node", lacking=why)
    return NodeParts(node=node, parts=(part,), answered=False)


def _why(node: NodeParts) -> str:
    return next((part.lacking for part in node.parts if part.lacking), "")


def _show(file: Path, *, since: float, pattern: re.Pattern[str] | None, as_json: bool) -> None:
    """Print the events in a snapshot by time. Exit with 1 if it is none."""
    try:
        nodes = list(events_in(file))
    except ArchiveError as error:
        complain(str(error))
        raise typer.Exit(REFUSED) from None
    for node in nodes:
        if node.lacking:
            complain(f"{node.node}: {node.lacking}")
        if node.events.unreadable:
            complain(f"{node.node}: {node.events.unreadable} lines are no events, and are left out")
    if not nodes:
        complain(f"{file} has no events in it: is it a snapshot of hcsidecar?")
        raise typer.Exit(REFUSED)
    for entry in merged((node.events.entries for node in nodes), since=since, pattern=pattern):
        typer.echo(msgspec.json.encode(entry).decode() if as_json else one_line(as_text(entry)))


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"--last {error}") from None
