"""Collects all that can be had of a node on its own machine: from its daemon, and where that is ill, from its files."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from hcsidecar.api.client import ClientError, LocalNode, NodeClient
from hcsidecar.api.routes import CHECK_TAKES
from hcsidecar.application.run_logs import NoSuchRunError, list_runs, read_end
from hcsidecar.core.documents import Entry, Run
from hcsidecar.core.events import Level
from hcsidecar.core.snapshot_contents import LARGEST_PART, NodeParts, Part, fitted
from hcsidecar.core.snapshot_secrets import Scrubber
from hcsidecar.core.snapshot_timeline import EVENTS, as_lines, as_text
from hcsidecar.events.journal import PAGE, EventQuery
from hcsidecar.events.store_worker import NAME
from hcsidecar.events.stored import NothingStoredError, StoredEvents
from hcsidecar.farmfile.dirs import control_socket
from hcsidecar.farmfile.loading import FarmFileError
from hcsidecar.snapshot.machine import machine_parts, scrubbed
from hcsidecar.snapshot.reading import MissingError, Reading, read_all
from hcsidecar.snapshot.where import Where

ANSWERS_WITHIN: Final = 5.0
"Seconds for an answer of the daemon of the same machine."
READ_WITHIN: Final = 10.0
"Seconds to read events or runs."
RUNS: Final = 30
"The newest runs of scripts whose output is taken."
LINES: Final = 2000
"The last lines of a run."
_LARGEST_RUN: Final = 65_536
_EVENTS_ABOUT: Final = "events as lines of JSON"
_TEXT_ABOUT: Final = "the same events as text, with times in UTC"


class _Daemon:
    """Asks the daemon; after the first question that it does not answer it is not asked any more."""

    def __init__(self, client: NodeClient | None, why_none: str) -> None:
        self.client = client
        self.why_not = why_none

    async def part(self, name: str, about: str, ask: Callable[[NodeClient], Awaitable[str]], limit: float) -> Part:
        """Return a part that the daemon tells, or why it does not."""
        if self.client is None or self.why_not:
            return Part(name=name, about=about, lacking=self.why_not)
        begun, text, lacking = time.monotonic(), "", ""
        try:
            async with asyncio.timeout(limit):
                text = await ask(self.client)
        except ClientError as error:
            lacking = str(error).replace("\n", "; ")
        except TimeoutError:
            lacking = f"the daemon of {self.client.via.name} did not answer within {limit:g} s: does it hang?"
        return Part(name=name, about=about, text=text, lacking=lacking, seconds=time.monotonic() - begun)


async def collect(where: Where, *, since: float, room: int) -> NodeParts:
    """Return the parts of a node of this machine, without secrets; takes less than 40 s whatever is wrong with it.

    `since` is in seconds since 1970: older events are left out. `room` is the limit of all parts in bytes.
    """
    machine = asyncio.get_running_loop().run_in_executor(None, machine_parts, where)
    daemon = _Daemon(*_client(where))
    first = await daemon.part("status.json", "the farm as this node sees it", _status, ANSWERS_WITHIN)
    answered = not first.lacking
    daemon.why_not = first.lacking
    entries, why_no_events = await _events(daemon, where, since=since)
    told = await asyncio.gather(
        daemon.part("layer-two.json", "filter, virtual IPs, buckets and packets", _layer_two, ANSWERS_WITHIN),
        daemon.part("l2-check.json", "what l2-check finds here", _l2_check, ANSWERS_WITHIN + CHECK_TAKES),
        daemon.part("targets.json", "the node at its load balancers", _targets, ANSWERS_WITHIN),
        daemon.part("metrics.txt", "metrics, as Prometheus reads them", _metrics, ANSWERS_WITHIN),
        daemon.part("timings.txt", "how late the daemon's timer came, and its other times", _timings, ANSWERS_WITHIN),
    )
    found: list[Part] = []
    runs = await asyncio.to_thread(read_all, [_runs_reading(where, found)])
    there, scrubber = await machine
    if scrubber is None:
        # Nothing may be shown of which nobody knows what is secret in it.
        return NodeParts(node=where.node or "", parts=tuple(there), answered=answered)
    parts = [
        _scrubbed_document(first, scrubber),
        *_event_parts(entries, why_no_events, scrubber),
        *(_scrubbed_document(part, scrubber) for part in told),
        *there,
        *(scrubbed(part, scrubber) for part in (found or runs)),
    ]
    return NodeParts(node=where.node or "", parts=fitted(parts, room), answered=answered)


def _client(where: Where) -> tuple[NodeClient | None, str]:
    if where.farm is None or where.node is None:
        return None, "which node this machine is could not be found out, so no daemon was asked"
    try:
        socket = control_socket(where.farm, where.farm.node_named(where.node))
    except FarmFileError as error:
        return None, str(error)
    local = LocalNode(name=where.node, socket=socket)
    return NodeClient(where.node, local, timeout=ANSWERS_WITHIN + CHECK_TAKES), ""


async def _status(client: NodeClient) -> str:
    return (await client.status()).raw.decode()


async def _layer_two(client: NodeClient) -> str:
    return (await client.layer_two()).raw.decode()


async def _l2_check(client: NodeClient) -> str:
    return (await client.l2_check()).raw.decode()


async def _targets(client: NodeClient) -> str:
    return (await client.targets()).raw.decode()


async def _metrics(client: NodeClient) -> str:
    # Imported here because the library takes long to load.
    from hcsidecar.web.exposition import render  # noqa: PLC0415

    return render(await client.metrics()).text.decode()


async def _timings(client: NodeClient) -> str:
    begun = time.monotonic()
    families = await client.metrics()
    lines = [f"the daemon answered within {time.monotonic() - begun:.3f} s"]
    lines += [
        f"{family.help} {sample.value:g}"
        for family in families
        if "seconds" in family.name
        for sample in family.samples
    ]
    return "\n".join(lines) + "\n"


async def _events(daemon: _Daemon, where: Where, *, since: float) -> tuple[list[Entry], str]:
    """Return the newest events, of the daemon or of its store, and why some are missing."""
    wanted = EventQuery(level=Level.DEBUG, since=since, text="")
    found: list[Entry] = []
    why = daemon.why_not
    if daemon.client is not None and not why:
        try:
            async with asyncio.timeout(READ_WITHIN):
                why = await _ask_events(daemon.client, wanted, found)
        except (ClientError, TimeoutError) as error:
            why = str(error) or f"the daemon did not tell all within {READ_WITHIN:g} s"
        if found:
            return found, why
    reading = Reading(
        name=EVENTS,
        about="",
        read=lambda: _read_stored(where, wanted, found),
        seconds=READ_WITHIN,
    )
    (read,) = await asyncio.to_thread(read_all, [reading])
    return list(found), f"{read.lacking}; {why}" if read.lacking and why else read.lacking or read.text


async def _ask_events(client: NodeClient, wanted: EventQuery, found: list[Entry]) -> str:
    before, size = None, 0
    while True:
        page = await client.events(last=PAGE, before=before, wanted=wanted)
        found[:0] = page.events
        size += sum(len(entry.message) for entry in page.events)
        if page.previous == 0 or size > LARGEST_PART:
            return page.lacking
        before = page.previous


def _read_stored(where: Where, wanted: EventQuery, found: list[Entry]) -> str:
    """Add the stored events, and return where they come from. Raise MissingError if there are none."""
    if where.state_dir is None:
        raise MissingError("where the events are stored is not known")
    try:
        stored = StoredEvents(where.state_dir / NAME, node=where.node or "")
        try:
            number, size = None, 0
            while size <= LARGEST_PART:
                page = stored.before(number, wanted=wanted, count=PAGE)
                found[:0] = page.entries
                size += sum(len(entry.message) for entry in page.entries)
                if page.reached == 0:
                    break
                number = page.reached
        finally:
            stored.close()
    except NothingStoredError as error:
        raise MissingError(str(error)) from None
    return ""


def _event_parts(entries: list[Entry], why: str, scrubber: Scrubber) -> list[Part]:
    clean = [
        msgspec.structs.replace(entry, origin=scrubber.text(entry.origin), message=scrubber.text(entry.message))
        for entry in entries
    ]
    why = scrubber.text(why)
    text = "".join(f"{as_text(entry)}\n" for entry in clean)
    return [
        Part(name=EVENTS, about=_EVENTS_ABOUT, text=as_lines(clean), lacking=why),
        Part(name="events.txt", about=_TEXT_ABOUT, text=text, lacking=why),
    ]


def _scrubbed_document(part: Part, scrubber: Scrubber) -> Part:
    """Return a part without secrets: one of JSON stays what it is."""
    if not part.name.endswith(".json") or not part.text:
        return scrubbed(part, scrubber)
    document = scrubber.document(msgspec.json.decode(part.text))
    text = msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"
    return msgspec.structs.replace(part, text=text, lacking=scrubber.text(part.lacking))


def _runs_reading(where: Where, found: list[Part]) -> Reading:
    return Reading(name="runs", about="output of scripts", read=lambda: _read_runs(where, found), seconds=READ_WITHIN)


def _read_runs(where: Where, found: list[Part]) -> str:
    """Add a part for each of the newest runs, the newest first: from the files, since the daemon may hang."""
    if where.state_dir is None:
        raise MissingError("where the output of scripts is kept is not known")
    directory = where.state_dir / "application"
    runs = list_runs(directory, where.node or "", most=RUNS).runs
    if not runs:
        raise MissingError(f"there is none in {directory}")
    found.extend(_run(directory, run, where.node or "") for run in reversed(runs))
    return ""


def _run(directory: Path, run: Run, node: str) -> Part:
    text, lacking = "", ""
    try:
        text = read_end(directory, node, run.name, lines=LINES).text
    except NoSuchRunError:
        lacking = "it has been removed meanwhile"
    except OSError as error:
        lacking = f"it cannot be read: {error.strerror}"
    if len(text) > _LARGEST_RUN:
        lacking = f"only the last {_LARGEST_RUN} characters are here"
    about = f"output of {run.script}"
    return Part(name=f"runs/{run.name}.txt", about=about, text=text[-_LARGEST_RUN:], lacking=lacking)


def lower_priority() -> None:
    """Let everything else on this machine go first."""
    if hasattr(os, "nice"):
        os.nice(10)
