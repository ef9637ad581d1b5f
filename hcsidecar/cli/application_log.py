"""`hcsidecar logs --application`: lists the runs of the application's scripts, and shows the output of one."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import typer

from hcsidecar.api.client import ClientError, NodeClient
from hcsidecar.cli.asking import complain
from hcsidecar.cli.farm import REFUSED
from hcsidecar.core.documents import Run, RunOutput
from hcsidecar.core.plain_text import escaped

POLL = 1.0
"Seconds between two requests for more output."
BEGINNING = "0"


async def list_runs(clients: Sequence[NodeClient], *, most: int | None, as_json: bool) -> None:
    """Print the newest runs of nodes. Exit with 1 if a node could not be asked."""
    failed = False
    for client in clients:
        try:
            runs = (await client.runs(last=most)).runs
        except ClientError as error:
            complain(str(error))
            failed = True
            continue
        for each in runs:
            typer.echo(_as_json(client.node, each) if as_json else _line(client.node, each))
        if not runs and not as_json:
            complain(f"{client.node}: no script has run, or no output is kept")
    if failed:
        raise typer.Exit(REFUSED)


async def show_run(
    client: NodeClient, name: str, *, lines: int | None, follow: bool, pattern: re.Pattern[str] | None, as_json: bool
) -> None:
    """Print the output of a run, and with `follow` go on with new output. Exit with 1 if it cannot be read."""
    rest, place = "", BEGINNING
    try:
        if lines is not None:
            page = await client.output(name, last=lines)
            name, place = page.name, page.next
            rest = _show(page, rest, pattern, as_json=as_json)
        while True:
            page = await client.output(name, after=place)
            name, place = page.name, page.next
            if page.missed:
                complain(f"{client.node}: older output of {name} is not kept, something is missing here")
            rest = _show(page, rest, pattern, as_json=as_json)
            if page.more:
                continue
            if not follow:
                break
            await asyncio.sleep(POLL)
    except ClientError as error:
        complain(str(error))
        raise typer.Exit(REFUSED) from None
    if rest:
        _echo(rest, pattern)


def _show(page: RunOutput, rest: str, pattern: re.Pattern[str] | None, *, as_json: bool) -> str:
    """Print the complete lines, and return the beginning of an incomplete one."""
    if as_json:
        if page.text:
            typer.echo(msgspec.json.encode(page).decode())
        return ""
    *whole, rest = (rest + page.text).split("\n")
    for line in whole:
        _echo(line, pattern)
    return rest


def _echo(line: str, pattern: re.Pattern[str] | None) -> None:
    if pattern is None or pattern.search(line):
        # The application's output may contain control sequences for the terminal.
        typer.echo(escaped(line.removesuffix("\r"), beside="\t"))


def _line(node: str, run: Run) -> str:
    at = datetime.fromtimestamp(run.started, UTC).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S} {node} {run.size / 1000:>9.1f} kB  {run.name}"


def _as_json(node: str, run: Run) -> str:
    return msgspec.json.encode({"node": node, **msgspec.structs.asdict(run)}).decode()
