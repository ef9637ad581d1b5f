"""The API, before any transport: what each method and path answers about this node, and what it makes it do.

    GET  /api/v1/status              the status document
    GET  /api/v1/events              a page of the journal: ?after=NUMBER or ?last=COUNT, &level=LEVEL, &wait=SECONDS
    POST /api/v1/actions/ACTION      start, stop, restart, drain, resume, leave; body {"force": bool}

Every answer is JSON. One that is no success says why in "reason"; an action that was refused, in "text" (status 409).
Two doors lead here: `local_api`, the unix socket, and `farm_api`, signed requests over TCP.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from hcsidecar.core.events import Level
from hcsidecar.journal import PAGE, Page
from hcsidecar.web.control import Action, Control

PREFIX = "/api/v1"
MAX_BODY = 65536
"Bytes of a request's body."
MAX_WAIT = 20
"Seconds that a request may wait for the next event."
MAX_NUMBER = 2**53
"The largest whole number that every JSON reader gets right."
LONGEST_NAME = 64
"Characters of the name of who asked."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP status and a JSON document."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsQuery:
    """Which events are asked for: those after a number, or the last few."""

    after: int | None
    last: int
    level: Level
    wait: int
    "Seconds to wait for one to come; only together with `after`."


class ActionBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with an action; an empty body means all defaults."""

    force: bool = False
    by: str = ""
    "Who asked, as the node says that took the request in over its unix socket."


class ApiError(Exception):
    """A request that is not served."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.reply = refused(status, reason)


class Api:
    """Answers for one node, from its Control."""

    def __init__(self, control: Control) -> None:
        self.control = control

    async def answer(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, *, by: Callable[[str], str]
    ) -> Reply:
        """Serve one request; `by` gives the name to believe, from the one that the body claims."""
        try:
            match path.split("/") if path.startswith(PREFIX + "/") else []:
                case [_, _, _, "status"]:
                    _only("GET", method)
                    return _document(self.control.status())
                case [_, _, _, "events"]:
                    _only("GET", method)
                    return _document(await self._events(parse_events_query(query)))
                case [_, _, _, "actions", name]:
                    action = parse_action(name)
                    _only("POST", method)
                    return await self._act(action, parse_action_body(body), by)
        except ApiError as error:
            return error.reply
        return refused(HTTPStatus.NOT_FOUND, "the API has no such path")

    async def _events(self, query: EventsQuery) -> Page:
        journal = self.control.journal
        if query.after is None:
            return journal.tail(query.last, level=query.level)
        if query.wait:
            await journal.wait(query.after, limit=query.wait)
        return journal.after(query.after, level=query.level)

    async def _act(self, action: Action, body: ActionBody, by: Callable[[str], str]) -> Reply:
        answer = await self.control.act(action, force=body.force, by=by(body.by))
        return Reply(status=HTTPStatus.OK if answer.ok else HTTPStatus.CONFLICT, body=msgspec.json.encode(answer))


def refused(status: HTTPStatus, reason: str) -> Reply:
    """Make the answer to a request that is not served."""
    return Reply(status=status, body=msgspec.json.encode({"reason": reason}))


def parse_action(name: str) -> Action:
    """Give the action of a name; ApiError (404) lists those there are."""
    try:
        return Action(name)
    except ValueError:
        known = ", ".join(Action)
        raise ApiError(HTTPStatus.NOT_FOUND, f"no action {name[:LONGEST_NAME]!r}; there are {known}") from None


def parse_action_body(body: bytes) -> ActionBody:
    """Read what comes with an action; ApiError (400) says what is wrong."""
    try:
        parsed = msgspec.json.decode(body, type=ActionBody) if body else ActionBody()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not right: {error}") from None
    if len(parsed.by) > LONGEST_NAME or not parsed.by.isprintable():
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body's `by` is not a name of at most {LONGEST_NAME} characters")
    return parsed


def parse_events_query(query: Mapping[str, str]) -> EventsQuery:
    """Read which events are wanted; ApiError (400) says what is wrong."""
    if unknown := sorted(set(query) - {"after", "last", "level", "wait"}):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"unknown parameter: {unknown[0][:LONGEST_NAME]}")
    after = _whole(query, "after", None, MAX_NUMBER)
    if after is not None and "last" in query:
        raise ApiError(HTTPStatus.BAD_REQUEST, "after and last exclude each other")
    if after is None and "wait" in query:
        raise ApiError(HTTPStatus.BAD_REQUEST, "wait needs after: the number from which on to wait")
    try:
        level = Level(query.get("level", Level.DEBUG))
    except ValueError:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"level is one of {', '.join(Level)}") from None
    last = _whole(query, "last", PAGE, MAX_NUMBER) or 0
    return EventsQuery(after=after, last=last, level=level, wait=_whole(query, "wait", 0, MAX_WAIT) or 0)


def _whole(query: Mapping[str, str], name: str, default: int | None, most: int) -> int | None:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{name} is a whole number, at most {most}")
    return int(text)


def _only(allowed: str, method: str) -> None:
    if method != allowed:
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {allowed}")


def _document(document: object) -> Reply:
    return Reply(status=HTTPStatus.OK, body=msgspec.json.encode(document))
