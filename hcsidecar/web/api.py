"""The API, before any transport: what each method and path answers about this node, and what it makes it do.

    GET  /api/v1/status              the status document
    GET  /api/v1/events              a page of the journal: ?after=NUMBER or ?last=COUNT, &level=LEVEL, &wait=SECONDS
    POST /api/v1/actions/ACTION      start, stop, restart, drain, resume, leave; body {"force": bool}
    …    /api/v1/requests, /reports, /budget: see `application_api`
    POST /api/v1/power               this node's weight; body {"power": NUMBER or null, "share": GROUP or null}
    GET  /api/v1/layer-two           the filter, the VIPs, the buckets and the packets of this node
    GET  /api/v1/layer-two/explain   who takes a client: ?address=ADDRESS, &port=PORT, &vip=VIP
    GET  /api/v1/layer-two/check     what this node needs of its machine and network, looked at now

Every answer is JSON. One that is no success says why in "reason"; an action that was refused, in "text" (status 409).
Two doors lead here: `local_api`, the unix socket, and `farm_api`, signed requests over TCP.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import msgspec

from hcsidecar.core.events import Level
from hcsidecar.core.messages import Power
from hcsidecar.core.values import LAST_PORT, is_ipv6, parse_address
from hcsidecar.journal import PAGE, Page
from hcsidecar.web import application_api
from hcsidecar.web.control import Action, Answer, Control

PREFIX = "/api/v1"
MAX_BODY = 65536
"Bytes of a request's body."
MAX_WAIT = 20
"Seconds that a request may wait for the next event."
MAX_NUMBER = 2**53
"The largest whole number that every JSON reader gets right."
LONGEST_NAME = 64
"Characters of the name of who asked."
NO_LAYER_TWO = "this farm has no [l2] table: no virtual IP, and no share that a client could belong to"
POWER_PATH = f"{PREFIX}/power"
CHECK_PATH = f"{PREFIX}/layer-two/check"
CHECK_TAKES = 8.0
"Seconds that a check may take: it listens for answers to its questions."


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


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with every POST."""

    by: str = ""
    "Who asked, as the node says that took the request in over its unix socket."


class ActionBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with an action; an empty body means all defaults."""

    force: bool = False


class PowerBody(_Body, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of this node's weight."""

    power: Power | None
    "None: back to the farm file's."
    share: str | None = None
    "The share group; None: all of them."


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Whom an explanation is about, all in usual form."""

    address: str
    port: int | None
    vip: str | None


_B = TypeVar("_B", bound=_Body)


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
                case [_, _, _, *parts] if parts[0] in application_api.PATHS:
                    return await self._of_the_application(method, parts, body, by)
                case [_, _, _, "power"]:
                    _only("POST", method)
                    return self._set_power(parse_power_body(body), by)
                case [_, _, _, "layer-two", *rest] if rest in ([], ["explain"], ["check"]):
                    _only("GET", method)
                    return await self._layer_two(rest, query)
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
        return _answered(await self.control.act(action, force=body.force, by=by(body.by)))

    async def _of_the_application(self, method: str, parts: list[str], body: bytes, by: Callable[[str], str]) -> Reply:
        try:
            found = await application_api.answer(self.control, method, parts, body, who=lambda: by(""))
        except application_api.WrongRequestError as error:
            raise ApiError(error.status, error.reason) from None
        return _answered(found) if isinstance(found, Answer) else _document(found)

    def _set_power(self, body: PowerBody, by: Callable[[str], str]) -> Reply:
        return _answered(self.control.set_power(body.power, share=body.share, by=by(body.by)))

    async def _layer_two(self, rest: list[str], query: Mapping[str, str]) -> Reply:
        control = self.control
        if not control.vips:
            raise ApiError(HTTPStatus.NOT_FOUND, NO_LAYER_TWO)
        match rest:
            case ["explain"]:
                client = parse_explain_query(query, vips=control.vips)
                return _document(control.explain(client.address, port=client.port, vip=client.vip))
            case ["check"]:
                return _document(await control.l2_check())
        return _document(control.layer_two())


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
    return _parse_body(body or b"{}", ActionBody)


def parse_power_body(body: bytes) -> PowerBody:
    """Read a change of power; ApiError (400) says what is wrong."""
    return _parse_body(body, PowerBody)


def _parse_body(body: bytes, kind: type[_B]) -> _B:
    try:
        parsed = msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not right: {error}") from None
    if len(parsed.by) > LONGEST_NAME or not parsed.by.isprintable():
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body's `by` is not a name of at most {LONGEST_NAME} characters")
    return parsed


def say_who_asked(path: str, body: bytes, by: str) -> bytes:
    """Give the body of a POST as it goes to another node: with the name of who asked here; ApiError as above."""
    if path.removeprefix(f"{PREFIX}/").partition("/")[0] in application_api.PATHS:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the application of a node speaks for that node only, and there")
    parsed: _Body = parse_power_body(body) if path == POWER_PATH else parse_action_body(body)
    return msgspec.json.encode(msgspec.structs.replace(parsed, by=by))


def parse_explain_query(query: Mapping[str, str], *, vips: Collection[str]) -> Client:
    """Read whom an explanation is about; ApiError (400) says what is wrong."""
    _no_others(query, {"address", "port", "vip"})
    if "address" not in query:
        raise ApiError(HTTPStatus.BAD_REQUEST, "address is missing: the client's")
    address, vip = _address(query, "address"), _address(query, "vip") if "vip" in query else None
    if vip is not None and vip not in vips:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{vip} is no VIP of this farm; there are {', '.join(vips)}")
    candidates = vips if vip is None else [vip]
    if not any(is_ipv6(each) == is_ipv6(address) for each in candidates):
        family = "IPv6" if is_ipv6(address) else "IPv4"
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{address} is {family}, unlike every VIP that is meant")
    port = _whole(query, "port", None, LAST_PORT)
    if port == 0:
        raise ApiError(HTTPStatus.BAD_REQUEST, "port is the client's own, from 1 on")
    return Client(address=address, port=port, vip=vip)


def _address(query: Mapping[str, str], name: str) -> str:
    try:
        return parse_address(query[name])
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{name} {error}") from None


def _no_others(query: Mapping[str, str], known: set[str]) -> None:
    if unknown := sorted(set(query) - known):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"unknown parameter: {unknown[0][:LONGEST_NAME]}")


def parse_events_query(query: Mapping[str, str]) -> EventsQuery:
    """Read which events are wanted; ApiError (400) says what is wrong."""
    _no_others(query, {"after", "last", "level", "wait"})
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


def _answered(answer: Answer) -> Reply:
    return Reply(status=HTTPStatus.OK if answer.ok else HTTPStatus.CONFLICT, body=msgspec.json.encode(answer))
