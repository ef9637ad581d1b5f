"""The part of the API that reads the events of this node, and writes those of scripts and operators."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from hcsidecar.api.requests import MAX_NUMBER, ApiError, no_others, parse_body, whole
from hcsidecar.core.documents import CommandResult, EventPage
from hcsidecar.core.events import Level
from hcsidecar.core.remarks import remark, why_not_origin
from hcsidecar.core.request_bodies import LogBody
from hcsidecar.events.journal import PAGE, EventQuery, Journal, one_line

MAX_WAIT = 20
"Seconds that a request may wait for the next event."
LONGEST_GREP = 200
"Characters of a text to search for."


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsQuery:
    """A query for events: those after a number, the last ones, or the last ones before a number."""

    after: int | None
    before: int | None
    last: int
    wait: int
    "Seconds to wait for an event if there is none; only together with `after`."
    wanted: EventQuery


def parse_events_query(query: Mapping[str, str]) -> EventsQuery:
    """Parse a query for events. Raise ApiError (400) if it is wrong."""
    no_others(query, {"after", "before", "last", "level", "wait", "since", "until", "grep"})
    after, before = whole(query, "after", None, MAX_NUMBER), whole(query, "before", None, MAX_NUMBER)
    if after is not None and ("last" in query or before is not None):
        raise ApiError(
            HTTPStatus.BAD_REQUEST, f"after and {'last' if 'last' in query else 'before'} exclude each other"
        )
    if after is None and "wait" in query:
        raise ApiError(HTTPStatus.BAD_REQUEST, "wait needs after: the number from which on to wait")
    try:
        level = Level(query.get("level", Level.DEBUG))
    except ValueError:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"level is one of {', '.join(Level)}") from None
    text = query.get("grep", "")
    if len(text) > LONGEST_GREP or not text.isprintable():
        raise ApiError(HTTPStatus.BAD_REQUEST, f"grep is printable text of at most {LONGEST_GREP} characters")
    wanted = EventQuery(
        level=level,
        since=whole(query, "since", 0, MAX_NUMBER) or 0,
        until=whole(query, "until", None, MAX_NUMBER),
        text=text,
    )
    return EventsQuery(
        after=after,
        before=before,
        last=whole(query, "last", PAGE, MAX_NUMBER) or 0,
        wait=whole(query, "wait", 0, MAX_WAIT) or 0,
        wanted=wanted,
    )


async def events(journal: Journal, query: EventsQuery) -> EventPage:
    """Return the page of events that a query asks for."""
    if query.after is None:
        return await journal.page_before(query.before, count=query.last, wanted=query.wanted)
    if query.wait:
        await journal.wait(query.after, limit=query.wait)
    return await journal.page_after(query.after, wanted=query.wanted)


def parse_log_body(body: bytes) -> LogBody:
    """Parse the body of a request that writes an event. Raise ApiError (400) if it is wrong."""
    parsed = parse_body(body, LogBody)
    if why := why_not_origin(parsed.origin):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not right: `origin` {why}")
    if not parsed.text.strip():
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is not right: `text` is blank")
    return parsed


def write(journal: Journal, body: LogBody, *, by: str) -> CommandResult:
    """Write an event with its author."""
    entry = journal.write(remark(Level(body.level), one_line(body.text), origin=body.origin, by=by))
    return CommandResult(ok=True, text=f"written as event {entry.number}")
