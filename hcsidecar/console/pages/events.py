"""The Events page: what has happened on all nodes, in the order of time; and the output of scripts."""

import asyncio
import csv
import io
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlencode

import msgspec
from aiohttp import hdrs, web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.pages.page import Page, PageRequest
from hcsidecar.console.pages.parts import event_places, follow, id_after, written
from hcsidecar.console.pages.rendering import Localized
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import queries as q
from hcsidecar.core.console.documents import FarmEvents, NodeAnswers
from hcsidecar.core.console.event_filter import EventFilter
from hcsidecar.core.console.state_timeline import timeline
from hcsidecar.core.documents import Entry, RunOutput, Runs
from hcsidecar.core.events import Level
from hcsidecar.core.remarks import OURS

_SHOWN: Final = 100
"Events on the page at first, and with each further piece of the past."
_EXPORTED: Final = 20_000
"Events in a file, at most."
_FOR_TIMELINE: Final = 5000
"Events from which a timeline is made, at most."
_BEFORE: Final = 86_400
"Seconds before the timeline in which the event is looked for that began a state."
_MOST_ASKED: Final = 60
"Times that the nodes are asked for one page or file: a filter may pass over much."
_EXPORTS: Final = asyncio.Semaphore(2)
"Files that are made at the same time: each is in memory while it is."
_QUIETEST: Final = 6
_Before = Annotated[str, msgspec.Meta(max_length=8192)]


class EventsPageQuery(EventFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events to show, and before which place."""

    before: _Before = ""


class ExportQuery(EventFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events to write into a file."""

    format: Literal["csv", "jsonl"] = "csv"


class LiveEventsQuery(EventFilter, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events to follow, and after which."""

    after: Annotated[str, msgspec.Meta(max_length=6000)] = ""


async def show(request: PageRequest) -> web.StreamResponse:
    """Show the page, or a further piece of the past."""
    wanted = _filter_of(request.query)
    is_live = wanted.is_open and not request.query.before
    places = await event_places(request) if is_live else {}
    events, before, problems = await _collect(request, wanted, most=_SHOWN, before=request.query.before)
    newest_first = events[::-1]
    shared = q.written(wanted)
    return request.render(
        "events_piece.html" if request.is_part else "events.html",
        wanted=wanted,
        events=newest_first,
        older=urlencode(shared | {"before": before}) if before else "",
        shared=urlencode(shared),
        problems=problems,
        nodes=await request.services.observer.node_names(),
        levels=list(Level),
        origins=sorted(OURS - {"module"}),
        live=urlencode(shared | {"after": id_after(places, events)}) if is_live else "",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventParts:
    """The events that pass a filter, for visitors of one language."""

    localized: Localized
    wanted: EventFilter
    has_details: bool = False

    @property
    def key(self) -> str:
        """Name the form."""
        return f"events {self.localized.language} {self.wanted}"

    def write(self, _kind: str, document: object) -> Sequence[tuple[str, bytes]]:
        """Return the row of an event that is wanted."""
        if not isinstance(document, Entry) or not self.wanted.takes(document):
            return ()
        return written([("events", self.localized.render("event_part.html", entry=document))])


async def live(request: PageRequest) -> web.StreamResponse:
    """Keep the page up to date."""
    form = EventParts(localized=request.localized, wanted=_filter_of(request.query))
    return await follow(request, form, request.query.after)


async def export(request: PageRequest) -> web.StreamResponse:
    """Send the events as a file, the oldest first."""
    wanted, kind = _filter_of(request.query), request.query.format
    if _EXPORTS.locked():
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "other exports are being made: try it again in a moment")
    async with _EXPORTS:
        events, older, problems = await _collect(request, wanted, most=_EXPORTED, before="")
    content = _as_csv(events) if kind == "csv" else _as_json_lines(events)
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: "text/csv; charset=utf-8" if kind == "csv" else "application/jsonl; charset=utf-8",
            hdrs.CONTENT_DISPOSITION: f'attachment; filename="events{_how_whole(problems, older=older)}.{kind}"',
            hdrs.CACHE_CONTROL: "no-store",
            "X-Content-Type-Options": "nosniff",
        }
    )
    await response.prepare(request.http)
    async for part in content:
        await response.write(part)
    await response.write_eof()
    return response


def _how_whole(problems: Mapping[str, str], *, older: str) -> str:
    """Return what the name of a file says of what is not in it."""
    missing = f"-without-{'-'.join(sorted(problems))}" if problems else ""
    return f"{'-newest' if older else ''}{missing}"


async def runs(request: PageRequest) -> web.StreamResponse:
    """List the newest runs of scripts on each node."""
    found: NodeAnswers[Runs] = await request.api("runs", query=q.RunsQuery(last=50))
    return request.render("runs.html", found=found)


class OutputPageQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the output is to go on."""

    after: Annotated[str, msgspec.Meta(max_length=100)] = ""
    quiet: Annotated[int, msgspec.Meta(ge=0, le=_QUIETEST)] = 0
    "How often in a row nothing has come."


async def output(request: PageRequest) -> web.StreamResponse:
    """Show the output of a run: the last lines, or what has come after a place."""
    after = request.query.after or None
    query = q.OutputQuery(after=after) if after else q.OutputQuery(last=1000)
    found: RunOutput = await request.api("output", query=query, **request.parameters)
    quiet = 0 if found.text else min(request.query.quiet + 1, _QUIETEST)
    # A run that says nothing more has mostly ended: it is asked for less and less often.
    delay = 200 if found.more else 1000 * 2**quiet
    return request.render("run_piece.html" if request.is_part else "run.html", found=found, quiet=quiet, delay=delay)


class TimelineQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far back the timeline goes."""

    hours: Literal[1, 6, 24, 72] = 6


async def states(request: PageRequest) -> web.StreamResponse:
    """Show in which state each node was, and when, as the events tell."""
    now = time.time()
    begin = now - 3600 * request.query.hours
    # A state that had begun before is told by an event that is older.
    wanted = EventFilter(since=f"{datetime.fromtimestamp(begin - _BEFORE, UTC):%Y-%m-%dT%H:%M}")
    events, _, problems = await _collect(request, wanted, most=_FOR_TIMELINE, before="")
    names = await request.services.observer.node_names()
    return request.render(
        "timeline.html",
        intervals=timeline(events, nodes=names, since=begin),
        marks=[entry for entry in events if entry.level in (Level.WARNING, Level.ERROR) and entry.time >= begin],
        begin=begin,
        now=now,
        hours=request.query.hours,
        problems=problems,
    )


def _filter_of(query: Any) -> EventFilter:
    return EventFilter(**{field: getattr(query, field) for field in EventFilter.__struct_fields__})


async def _collect(
    request: PageRequest, wanted: EventFilter, *, most: int, before: str
) -> tuple[Sequence[Entry], str, dict[str, str]]:
    """Return events that pass the filter, the oldest first; where older ones begin; and which nodes lack some."""
    found: list[Entry] = []
    problems: dict[str, str] = {}
    begins, ends = wanted.begins_at, wanted.ends_before
    for _ in range(_MOST_ASKED):
        page: FarmEvents = await request.api(
            "events",
            query=q.FarmEventsQuery(
                node=wanted.node,
                level=wanted.level,
                origin=wanted.origin,
                grep=wanted.text,
                since=0 if begins is None else int(begins),
                until=None if ends is None else max(0, int(ends)),
                last=min(q.MOST_EVENTS, most - len(found)),
                before=before,
            ),
        )
        problems |= page.problems
        found = [entry for entry in page.events if wanted.takes(entry)] + found
        before = page.before
        if not before or len(found) >= most or (problems and not page.events):
            break
    return found, before, problems


async def _as_csv(events: Sequence[Entry]) -> AsyncIterator[bytes]:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("time", "node", "level", "origin", "message"))
    for entry in events:
        # What begins with such a sign would be a formula in a spreadsheet.
        message = f"'{entry.message}" if entry.message[:1] in ("=", "+", "-", "@", "\t", "\r") else entry.message
        rows.writerow((f"{entry.time:.3f}", entry.node, entry.level.value, entry.origin, message))
        if text.tell() > _WRITTEN_AT_ONCE:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


async def _as_json_lines(events: Sequence[Entry]) -> AsyncIterator[bytes]:
    for entry in events:
        yield msgspec.json.encode(entry) + b"\n"


_WRITTEN_AT_ONCE: Final = 65_536

PAGES: Final = (
    Page(name="events_page", method="GET", path="/events", role=AccessRole.MONITOR, serve=show, query=EventsPageQuery),
    Page(
        name="events_live",
        method="GET",
        path="/live/events",
        role=AccessRole.MONITOR,
        serve=live,
        query=LiveEventsQuery,
    ),
    Page(
        name="events_export",
        method="GET",
        path="/events/export",
        role=AccessRole.MONITOR,
        serve=export,
        query=ExportQuery,
    ),
    Page(
        name="timeline_page",
        method="GET",
        path="/timeline",
        role=AccessRole.MONITOR,
        serve=states,
        query=TimelineQuery,
    ),
    Page(name="runs_page", method="GET", path="/runs", role=AccessRole.MONITOR, serve=runs),
    Page(
        name="run_page",
        method="GET",
        path="/runs/{node}/{run}",
        role=AccessRole.MONITOR,
        serve=output,
        query=OutputPageQuery,
    ),
)
