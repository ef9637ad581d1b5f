"""The API, independent of the transport: what each method and path returns about this node, or makes it do.

    GET  /api/v1/status              the status document
    GET  /api/v1/metrics             the metrics of this node, as `core.metric_catalogue` has them
    GET  /api/v1/events              a page of the journal: ?after=NUMBER, &wait=SECONDS or ?last=COUNT, &before=NUMBER;
                                     and &level=LEVEL, &since=SECONDS_SINCE_1970, &until=SECONDS_SINCE_1970,
                                     &grep=TEXT
    POST /api/v1/log                 an event: body {"level": LEVEL, "text": TEXT, "origin": NAME}
    GET  /api/v1/facts               what the console needs to know of this node and its farm
    GET  /api/v1/checks              the checks of this node and their latest results
    GET  /api/v1/series              the last hour of this node, one sample each 10 s
    GET  /api/v1/runs                the runs of scripts whose output is kept
    GET  /api/v1/runs/NAME           the output of one: ?last=LINES or ?after=PLACE
    POST /api/v1/actions/ACTION      start, stop, restart, drain, resume, leave, restart-daemon; body {"force": bool}
    …    /api/v1/requests, /reports, /budget: see `api/application.py`
    POST /api/v1/power               this node's weight; body {"power": NUMBER or null, "share": GROUP or null}
    GET  /api/v1/targets             the state of this node at its load balancers
    GET  /api/v1/notifications       the receivers of notifications, and how sending to them goes
    POST /api/v1/notifications       what another node holds for a receiver; see `core.notify.outbox`
    GET  /api/v1/snapshot            what `hcsidecar snapshot` takes of this node: ?since=SECONDS_SINCE_1970,
                                     &room=BYTES
    GET  /api/v1/layer-two           the filter, the VIPs, the buckets and the packets of this node
    GET  /api/v1/layer-two/explain   which node takes a client: ?address=ADDRESS, &port=PORT, &vip=VIP
    GET  /api/v1/layer-two/check     what this node needs of its machine and network, checked now
    …    /api/v1/settings: see `api/settings.py`
    …    /api/v1/joining: see `api/joining.py`
    …    /api/v1/access: see `api/access.py`
    …    /api/v1/keys: see `api/keys.py`
    …    /api/v1/certificates: see `api/certificates.py`

Every answer is JSON. An error has its reason in "reason"; an action that was refused (status 409) has it in "text".
Requests come over the unix socket (`api/local.py`) or signed over TCP (`api/farm.py`). The health URL and /metrics, on
the same TCP port, are not part of the API: see `hcsidecar.web`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import msgspec

from hcsidecar.api import access as access_api
from hcsidecar.api import application as application_api
from hcsidecar.api import certificates as certificates_api
from hcsidecar.api import joining as joining_api
from hcsidecar.api import keys as keys_api
from hcsidecar.api import settings as settings_api
from hcsidecar.api.control import Control, NodeCommand, NoSnapshotError
from hcsidecar.api.events import events, parse_events_query, parse_log_body, write
from hcsidecar.api.requests import (
    LONGEST_NAME,
    MAX_NUMBER,
    ApiError,
    Reply,
    document,
    no_others,
    only,
    parse_body,
    refused,
    whole,
)
from hcsidecar.api.runs import RunsApi
from hcsidecar.core.access.documents import AccessResult
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.farmfile.values import LAST_PORT, is_ipv6, parse_address
from hcsidecar.core.notify.documents import NotificationsReport
from hcsidecar.core.request_bodies import ActionBody, Body, NotificationsBody, PowerBody
from hcsidecar.core.snapshot_contents import LARGEST_NODE
from hcsidecar.core.targets.documents import TargetsReport

PREFIX = "/api/v1"
NO_LAYER_TWO = "this farm has no [l2] table: no virtual IP, and no share that a client could belong to"
POWER_PATH = f"{PREFIX}/power"
LOG_PATH = f"{PREFIX}/log"
NOTIFICATIONS_PATH = f"{PREFIX}/notifications"
CHECK_PATH = f"{PREFIX}/layer-two/check"
SNAPSHOT_PATH = f"{PREFIX}/snapshot"
SNAPSHOT_TAKES = 40.0
"Seconds that a snapshot may take, on a node that is ill."
CHECK_TAKES = 8.0
"Seconds that a check may take: it waits for answers from the network."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainQuery:
    """The client that an explanation is about, with addresses in canonical form."""

    address: str
    port: int | None
    vip: str | None


class Api:
    """Answers requests about one node, by means of its Control."""

    def __init__(self, control: Control) -> None:
        self.control = control
        self._runs_api = RunsApi(control.node, lambda: control.runs_directory)

    async def answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes,
        *,
        by: Callable[[str], str],
        sender: str | None = None,
    ) -> Reply:
        """Serve one request; `by` takes the requester's name that the body claims and returns the one to record.

        `sender` is the node that asks, None on the machine itself.
        """
        try:
            match path.split("/") if path.startswith(PREFIX + "/") else []:
                case [_, _, _, "status"]:
                    only("GET", method)
                    return document(self.control.status())
                case [_, _, _, "facts"]:
                    only("GET", method)
                    return document(self.control.facts())
                case [_, _, _, "checks"]:
                    only("GET", method)
                    return document(self.control.checks())
                case [_, _, _, "series"]:
                    only("GET", method)
                    return document(self.control.series())
                case [_, _, _, "metrics"]:
                    only("GET", method)
                    return document(self.control.metrics())
                case [_, _, _, "events"]:
                    only("GET", method)
                    return document(await events(self.control.journal, parse_events_query(query)))
                case [_, _, _, "log"]:
                    only("POST", method)
                    log_body = parse_log_body(body)
                    return _answered(write(self.control.journal, log_body, by=by(log_body.by or "")))
                case [_, _, _, "runs", *rest] if len(rest) <= 1:
                    only("GET", method)
                    return document(await self._runs(rest, query))
                case [_, _, _, "actions", name]:
                    action = parse_action(name)
                    only("POST", method)
                    return await self._act(action, parse_action_body(body), by)
                case [_, _, _, *parts] if parts[0] in application_api.PATHS:
                    return await self._of_the_application(method, parts, body, by)
                case [_, _, _, "power"]:
                    only("POST", method)
                    return self._set_power(parse_power_body(body), by)
                case [_, _, _, "targets"]:
                    only("GET", method)
                    return document(TargetsReport(node=self.control.node, targets=tuple(self.control.targets())))
                case [_, _, _, "notifications"]:
                    return self._notifications(method, body)
                case [_, _, _, "snapshot"]:
                    only("GET", method)
                    return await self._snapshot(query)
                case [_, _, _, "layer-two", *rest] if rest in ([], ["explain"], ["check"]):
                    only("GET", method)
                    return await self._layer_two(rest, query)
                case [_, _, _, "joining", "tokens"]:
                    return await joining_api.answer(self.control.joining, method, body, by=by(""), sender=sender)
                case [_, _, _, "keys", *rest]:
                    kept = await keys_api.answer(self.control.keys, method, rest, body, by=by(""), sender=sender)
                    return _answered(kept) if isinstance(kept, CommandResult) else kept
                case [_, _, _, "certificates", *rest]:
                    return await certificates_api.answer(self.control.certificates, method, rest, body, sender=sender)
                case [_, _, _, "settings", *rest]:
                    return await self._settings(method, rest, body, by, sender)
                case [_, _, _, "access", *rest]:
                    return await self._access(method, rest, query, body, by=by, sender=sender)
        except ApiError as error:
            return error.reply
        return refused(HTTPStatus.NOT_FOUND, "the API has no such path")

    async def _act(self, action: NodeCommand, body: ActionBody, by: Callable[[str], str]) -> Reply:
        return _answered(await self.control.act(action, force=body.force, by=by(body.by or "")))

    async def _settings(
        self, method: str, parts: list[str], body: bytes, by: Callable[[str], str], sender: str | None
    ) -> Reply:
        found = await settings_api.answer(self.control.settings, method, parts, body, by=by, sender=sender)
        return _answered(found) if isinstance(found, CommandResult) else found

    async def _access(
        self,
        method: str,
        parts: list[str],
        query: Mapping[str, str],
        body: bytes,
        *,
        by: Callable[[str], str],
        sender: str | None,
    ) -> Reply:
        found = await access_api.answer(self.control.access, method, parts, query, body, by=by, sender=sender)
        return _answered(found) if isinstance(found, AccessResult) else found

    async def _of_the_application(self, method: str, parts: list[str], body: bytes, by: Callable[[str], str]) -> Reply:
        found = await application_api.answer(self.control, method, parts, body, who=lambda: by(""))
        return _answered(found) if isinstance(found, CommandResult) else document(found)

    def _set_power(self, body: PowerBody, by: Callable[[str], str]) -> Reply:
        return _answered(self.control.set_power(body.power, share=body.share, by=by(body.by or "")))

    async def _runs(self, rest: list[str], query: Mapping[str, str]) -> object:
        return await (self._runs_api.output(rest[0], query) if rest else self._runs_api.runs(query))

    def _notifications(self, method: str, body: bytes) -> Reply:
        control = self.control
        if method == "GET":
            return document(NotificationsReport(node=control.node, receivers=tuple(control.notifications())))
        if method != "POST":
            only("GET or POST", method)
        handed = parse_notifications_body(body)
        answer = control.take_notifications(handed)
        if answer is None:
            raise ApiError(HTTPStatus.NOT_FOUND, f"no receiver {handed.receiver[:LONGEST_NAME]!r} on this node")
        return document(answer)

    async def _snapshot(self, query: Mapping[str, str]) -> Reply:
        no_others(query, {"since", "room"})
        since, room = whole(query, "since", 0, MAX_NUMBER), whole(query, "room", LARGEST_NODE, LARGEST_NODE)
        try:
            return document(await self.control.snapshot(since=since or 0, room=room or 0))
        except NoSnapshotError as error:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None

    async def _layer_two(self, rest: list[str], query: Mapping[str, str]) -> Reply:
        control = self.control
        if not control.vips:
            raise ApiError(HTTPStatus.NOT_FOUND, NO_LAYER_TWO)
        match rest:
            case ["explain"]:
                client = parse_explain_query(query, vips=control.vips)
                return document(control.explain(client.address, port=client.port, vip=client.vip))
            case ["check"]:
                return document(await control.l2_check())
        return document(control.layer_two())


def parse_action(name: str) -> NodeCommand:
    """Return the action of a name. Raise ApiError (404) if there is none; it lists all actions."""
    try:
        return NodeCommand(name)
    except ValueError:
        known = ", ".join(NodeCommand)
        raise ApiError(HTTPStatus.NOT_FOUND, f"no action {name[:LONGEST_NAME]!r}; there are {known}") from None


def parse_action_body(body: bytes) -> ActionBody:
    """Parse the body of an action. Raise ApiError (400) if it is wrong."""
    return parse_body(body or b"{}", ActionBody)


def parse_power_body(body: bytes) -> PowerBody:
    """Parse the body of a change of power. Raise ApiError (400) if it is wrong."""
    return parse_body(body, PowerBody)


def parse_notifications_body(body: bytes) -> NotificationsBody:
    """Parse what is handed over to be sent. Raise ApiError (400) if it is wrong."""
    return parse_body(body, NotificationsBody)


_BODIES: Mapping[str, Callable[[bytes], Body]] = {
    POWER_PATH: parse_power_body,
    LOG_PATH: parse_log_body,
    NOTIFICATIONS_PATH: parse_notifications_body,
}


def refuse_from_afar(method: str, path: str) -> None:
    """Raise ApiError (400) if another node may not request this."""
    if method != "GET" and path.removeprefix(f"{PREFIX}/").partition("/")[0] in application_api.PATHS:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the application of a node speaks for that node only, and there")


def say_who_asked(path: str, body: bytes, by: str) -> bytes:
    """Return the body of a POST for another node, with the requester's name. Raise ApiError (400) if it is wrong."""
    parse: Callable[[bytes], Body] = _BODIES.get(path, parse_action_body)
    parsed = parse(body)
    return msgspec.json.encode(msgspec.structs.replace(parsed, by=by))


def parse_explain_query(query: Mapping[str, str], *, vips: Collection[str]) -> ExplainQuery:
    """Parse the query of an explanation. Raise ApiError (400) if it is wrong."""
    no_others(query, {"address", "port", "vip"})
    if "address" not in query:
        raise ApiError(HTTPStatus.BAD_REQUEST, "address is missing: the client's")
    address, vip = _address(query, "address"), _address(query, "vip") if "vip" in query else None
    if vip is not None and vip not in vips:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{vip} is no VIP of this farm; there are {', '.join(vips)}")
    candidates = vips if vip is None else [vip]
    if not any(is_ipv6(each) == is_ipv6(address) for each in candidates):
        family = "IPv6" if is_ipv6(address) else "IPv4"
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{address} is {family}, unlike every VIP that is meant")
    port = whole(query, "port", None, LAST_PORT)
    if port == 0:
        raise ApiError(HTTPStatus.BAD_REQUEST, "port is the client's own, from 1 on")
    return ExplainQuery(address=address, port=port, vip=vip)


def _address(query: Mapping[str, str], name: str) -> str:
    try:
        return parse_address(query[name])
    except ValueError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{name} {error}") from None


def _answered(answer: CommandResult | AccessResult) -> Reply:
    return Reply(status=HTTPStatus.OK if answer.ok else HTTPStatus.CONFLICT, body=msgspec.json.encode(answer))
