"""Serves the routes of the table: a method for each, with the name of its route."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from hcsidecar.access.password_hashes import hash_password
from hcsidecar.api.requests import ApiError, Reply
from hcsidecar.console.daemon_client import DaemonClient, NoAnswerError, reason_of
from hcsidecar.console.doorkeeper import Doorkeeper, Visitor
from hcsidecar.console.hub import Hub
from hcsidecar.console.observer import FarmObserver
from hcsidecar.console.rolling import RollingCommands, RollingInProgressError
from hcsidecar.console.shared_answer import SharedAnswer
from hcsidecar.console.snapshots import SnapshotInProgressError, Snapshots
from hcsidecar.console.stream_serving import send_stream
from hcsidecar.core.access.credentials import SECRET_BYTES, TOKEN_ID_BYTES, secret_digest, write_token
from hcsidecar.core.access.documents import AccessResult, PasswordBody, RemoveBody, RoleBody, TokenBody, UserBody
from hcsidecar.core.access.identity import Actor
from hcsidecar.core.access.passwords import why_not_password
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console import access_bodies as a
from hcsidecar.core.console import documents as d
from hcsidecar.core.console import queries as q
from hcsidecar.core.console.draft_check import check_draft
from hcsidecar.core.console.event_merge import NOTHING_OLDER, CursorError, merged, read_cursor
from hcsidecar.core.console.farm_knowledge import NODE_LIMIT
from hcsidecar.core.console.openapi import openapi_document
from hcsidecar.core.console.routes import ACTIONS, Route
from hcsidecar.core.console.safekit_upload import SafekitReport, converted
from hcsidecar.core.console.stream_format import read_id
from hcsidecar.core.documents import CommandResult, EventPage
from hcsidecar.core.joining.messages import JoinTokenAnswer, JoinTokenBody
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.metric_catalogue import Family
from hcsidecar.core.request_bodies import ActionBody, LogBody, PowerBody
from hcsidecar.core.settings.documents import CandidateBody, CandidateFile, ProposalBody
from hcsidecar.safekit.module import ModuleError, read_uploaded

DISK_LIMIT: Final = 2.5
"Seconds for what a node reads from its disk."
SERIES_FRESH: Final = 5.0
"Seconds for which one answer with the last hour serves everybody: half of what a sample stands for."
ACTION_LIMIT: Final = 4.0
"Seconds for the answer to a command."
CHECK_LIMIT: Final = 15.0
"Seconds for a check of machine and network, which waits for answers of the network."
PLAN_LIMIT: Final = 60.0
"Seconds for the checks of a candidate by all nodes."
JUDGED_AT_ONCE: Final = 2
"Drafts and uploaded modules that are read at the same time; further ones wait."
CHANGE_LIMIT: Final = 12.0
"Seconds for a change of users, which waits until the other nodes have it or do not answer."


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedRequest:
    """A request that has been checked by the table."""

    route: Route
    parameters: Mapping[str, str]
    query: Any
    "Of the route's type."
    body: Any
    "Of the route's type; None if it has none."
    caller: Visitor | None
    "None if the route needs nobody."
    http: web.Request

    @property
    def actor(self) -> Actor:
        """Who asks; a route that needs somebody has one."""
        assert self.caller is not None  # noqa: S101 - the table says so
        return self.caller.actor

    @property
    def address(self) -> str:
        """The address that the request came from."""
        return self.http.remote or ""


Handler = Callable[[CheckedRequest], Awaitable[object]]
"Returns a document, a Reply of a daemon, or a response that is ready to be sent."


@dataclass(frozen=True, slots=True, kw_only=True)
class WithCookie:
    """A document, and the session to be set with it; an empty one removes the cookie."""

    document: object
    session: str


class Handlers:
    """All handlers, and what they need."""

    def __init__(
        self,
        *,
        client: DaemonClient,
        observer: FarmObserver,
        doorkeeper: Doorkeeper,
        rolling: RollingCommands,
        hub: Hub,
        version: str,
    ) -> None:
        self._client = client
        self._observer = observer
        self._doorkeeper = doorkeeper
        self._rolling = rolling
        self._hub = hub
        self._snapshots = Snapshots(client)
        self._judging = asyncio.Semaphore(JUDGED_AT_ONCE)
        # Each open Farm page asks for it every ten seconds; fifty of them must not ask the nodes fifty times.
        self._series = SharedAnswer(lambda: self._answers("/series"), fresh_for=SERIES_FRESH)
        self._description = msgspec.Raw(msgspec.json.encode(openapi_document(version)))

    def of(self, route: Route) -> Handler:
        """Return the handler of a route."""
        handler: Handler = getattr(self, route.name)
        return handler

    # -- people and programs -----------------------------------------------------------------------------------------

    async def openapi(self, _request: CheckedRequest) -> object:
        """Return the description of the API."""
        return self._description

    async def sign_in(self, request: CheckedRequest) -> object:
        """Let a person in."""
        caller, session = await self._doorkeeper.sign_in(request.body, request.address)
        return WithCookie(document=caller.report, session=session)

    async def session(self, request: CheckedRequest) -> object:
        """Return who is signed in."""
        return None if request.caller is None else request.caller.report

    async def sign_out(self, _request: CheckedRequest) -> object:
        """Forget the session in the browser."""
        return WithCookie(document=d.Done(), session="")

    async def access(self, request: CheckedRequest) -> object:
        """Return users and tokens."""
        return await self._own("GET", "/access", request, limit=NODE_LIMIT)

    async def add_user(self, request: CheckedRequest) -> object:
        """Add a user."""
        body: a.NewUserBody = request.body
        hashed = await self._hashed(body.name, body.password)
        user = UserBody(name=body.name, role=body.role, password=hashed)
        return await self._change_access("/access/users", request, user)

    async def set_password(self, request: CheckedRequest) -> object:
        """Give a user another password."""
        name, identity = request.parameters["user"], request.actor.identity
        if name != identity.person and identity.role is not AccessRole.ADMIN:
            raise ApiError(HTTPStatus.FORBIDDEN, "only an admin may change the password of somebody else")
        body = PasswordBody(password=await self._hashed(name, request.body.password))
        return await self._change_access(f"/access/users/{name}/password", request, body)

    async def set_role(self, request: CheckedRequest) -> object:
        """Give a user another role."""
        body = RoleBody(role=request.body.role, force=request.body.force)
        path = f"/access/users/{request.parameters['user']}/role"
        return await self._change_access(path, request, body)

    async def remove_user(self, request: CheckedRequest) -> object:
        """Remove a user."""
        path = f"/access/users/{request.parameters['user']}/remove"
        return await self._change_access(path, request, RemoveBody(force=request.query.force))

    async def add_token(self, request: CheckedRequest) -> object:
        """Make an API token, and show it."""
        body: a.NewTokenBody = request.body
        secret, identifier = secrets.token_bytes(SECRET_BYTES), secrets.token_hex(TOKEN_ID_BYTES)
        token = TokenBody(
            id=identifier,
            name=body.name,
            role=body.role,
            secret_sha256=secret_digest(secret),
            expires_at=None if body.lasts is None else int(time.time()) + body.lasts,
        )
        reply = await self._change_access("/access/tokens", request, token)
        if reply.status != HTTPStatus.OK:
            return reply
        result = read_json(reply.body, AccessResult)
        return a.NewToken(
            token=write_token(identifier, secret), id=identifier, text=result.text, lacking=result.lacking
        )

    async def revoke_token(self, request: CheckedRequest) -> object:
        """Revoke an API token."""
        path = f"/access/tokens/{request.parameters['token']}/revoke"
        return await self._change_access(path, request, msgspec.json.decode(b"{}"))

    async def _change_access(self, path: str, request: CheckedRequest, body: object) -> Reply:
        try:
            return await self._own("POST", path, request, body, limit=CHANGE_LIMIT)
        finally:
            self._doorkeeper.expect_change()

    async def _hashed(self, name: str, password: str) -> str:
        if why := why_not_password(password, user=name):
            raise ApiError(HTTPStatus.BAD_REQUEST, why)
        return await asyncio.to_thread(hash_password, password)

    # -- what is to be seen ------------------------------------------------------------------------------------------

    async def farm(self, _request: CheckedRequest) -> object:
        """Return the whole farm."""
        return await self._observer.overview()

    async def status(self, request: CheckedRequest) -> object:
        """Return the farm as one node sees it."""
        return await self._of_node("/status", request)

    async def events(self, request: CheckedRequest) -> object:
        """Return events of all nodes."""
        query: q.FarmEventsQuery = request.query
        try:
            cursor = read_cursor(query.before)
        except CursorError as error:
            raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from None
        wanted = {"last": str(query.last), "level": query.level.value}
        wanted |= {"grep": query.grep} if query.grep else {}
        wanted |= {"since": str(query.since)} if query.since else {}
        wanted |= {"until": str(query.until)} if query.until is not None else {}
        pages: dict[str, EventPage] = {}
        problems: dict[str, str] = {}

        async def ask(node: str) -> None:
            place = {"before": str(cursor[node])} if node in cursor else {}
            try:
                pages[node] = await self._client.document(
                    "/events",
                    EventPage,
                    node=node,
                    query=wanted | place,
                    actor=request.actor,
                    limit=NODE_LIMIT,
                    unless_silent=True,
                )
            except NoAnswerError as error:
                problems[node] = str(error)

        names = await self._chosen(tuple(filter(None, query.node.split(","))))
        await asyncio.gather(*(ask(name) for name in names if cursor.get(name) != NOTHING_OLDER))
        return merged(pages, cursor=cursor, last=query.last, origin=query.origin, problems=problems)

    async def node_events(self, request: CheckedRequest) -> object:
        """Return events of one node."""
        return await self._of_node("/events", request, limit=DISK_LIMIT)

    async def runs(self, request: CheckedRequest) -> object:
        """Return the newest runs of each node."""
        return await self._of_all("/runs", request)

    async def node_runs(self, request: CheckedRequest) -> object:
        """Return the newest runs of one node."""
        return await self._of_node("/runs", request, limit=DISK_LIMIT)

    async def output(self, request: CheckedRequest) -> object:
        """Return the output of a run."""
        return await self._of_node(f"/runs/{request.parameters['run']}", request, limit=DISK_LIMIT)

    async def checks(self, request: CheckedRequest) -> object:
        """Return the checks of each node."""
        return await self._of_all("/checks", request)

    async def shares(self, request: CheckedRequest) -> object:
        """Return the layer-2 mode of each node."""
        return await self._of_all("/layer-two", request)

    async def layer_two_check(self, request: CheckedRequest) -> object:
        """Let a node check its machine and network."""
        return await self._of_node("/layer-two/check", request, limit=CHECK_LIMIT)

    async def explain(self, request: CheckedRequest) -> object:
        """Return which node serves a client."""
        query: q.ClientQuery = request.query
        wanted = q.written(query)
        node = wanted.pop("node", "") or None
        if node is not None:
            await self._known(node)
        return await self._client.ask(
            "GET", "/layer-two/explain", node=node, query=wanted, actor=request.actor, limit=NODE_LIMIT
        )

    async def counters(self, request: CheckedRequest) -> object:
        """Return the metrics of each node."""

        async def of(node: str) -> d.NodeAnswer[d.Counters]:
            try:
                families = await self._client.document(
                    "/metrics",
                    tuple[Family, ...],
                    node=node,
                    actor=request.actor,
                    limit=NODE_LIMIT,
                    unless_silent=True,
                )
            except NoAnswerError as error:
                return d.NodeAnswer(node=node, answers=False, problem=str(error))
            return d.NodeAnswer(node=node, answers=True, document=d.Counters(families=families))

        names = await self._observer.node_names()
        return d.NodeAnswers(nodes=tuple(await asyncio.gather(*(of(name) for name in names))))

    async def series(self, _request: CheckedRequest) -> object:
        """Return the last hour of each node."""
        return await self._series.get()

    async def targets(self, request: CheckedRequest) -> object:
        """Return the targets of each node."""
        return await self._of_all("/targets", request)

    async def notifications(self, request: CheckedRequest) -> object:
        """Return the receivers of notifications of each node."""
        return await self._of_all("/notifications", request)

    # -- settings ----------------------------------------------------------------------------------------------------

    async def settings(self, request: CheckedRequest) -> object:
        """Return the revisions of each node's settings."""
        return await self._of_all("/settings", request)

    async def differences(self, request: CheckedRequest) -> object:
        """Return what a revision has changed, or what is not applied."""
        number = request.query.revision
        path = "/settings/differences" + ("" if number is None else f"/{number}")
        return await self._own("GET", path, request, limit=DISK_LIMIT)

    async def manifest(self, request: CheckedRequest) -> object:
        """Return the manifest of a revision."""
        return await self._own("GET", f"/settings/revisions/{request.parameters['digest']}", request, limit=DISK_LIMIT)

    async def file(self, request: CheckedRequest) -> object:
        """Return a file of a revision."""
        parameters = request.parameters
        path = f"/settings/revisions/{parameters['digest']}/files/{parameters['sha256']}"
        reply = await self._own("GET", path, request, limit=DISK_LIMIT)
        if reply.status != HTTPStatus.OK:
            return reply
        return web.Response(body=reply.body, content_type="application/octet-stream")

    async def check_draft(self, request: CheckedRequest) -> object:
        """Check files as new settings, in a thread: it takes the processor for a while."""
        body: d.DraftBody = request.body
        async with self._judging:
            return await asyncio.to_thread(check_draft, {file.name: file.content for file in body.files})

    async def import_safekit(self, request: CheckedRequest) -> object:
        """Make files of a draft from a SafeKit module, in a thread: what may mean harm gets no more than its time."""
        body: d.SafekitBody = request.body
        async with self._judging:
            return await asyncio.to_thread(_imported, body)

    async def join_line(self, request: CheckedRequest) -> object:
        """Let the console's own node make a token, and return the line with it."""
        body: d.JoinLineBody = request.body
        asked = JoinTokenBody(node=body.node, valid=body.valid)
        reply = await self._own("POST", "/joining/tokens", request, asked, limit=ACTION_LIMIT)
        if reply.status != HTTPStatus.OK:
            return reply
        answer = read_json(reply.body, JoinTokenAnswer)
        if answer.problem:
            raise ApiError(HTTPStatus.CONFLICT, answer.problem)
        return d.JoinLine(command=answer.command(body.node), valid=body.valid)

    async def plan(self, request: CheckedRequest) -> object:
        """Check new settings on every node, and return the plan."""
        body: d.PlanBody = request.body
        files = None
        if body.files is not None:
            files = tuple(
                CandidateFile(name=file.name, content=file.content, executable=file.executable) for file in body.files
            )
        candidate = CandidateBody(
            files=files, number=body.number, take=body.take, message=body.message, without=body.without
        )
        return await self._own("POST", "/settings/candidates", request, candidate, limit=PLAN_LIMIT)

    async def apply(self, request: CheckedRequest) -> object:
        """Apply the latest candidate."""
        body: d.ApplyBody = request.body
        proposal = ProposalBody(digest=body.digest, confirm=body.confirm)
        return await self._own("POST", "/settings/proposals", request, proposal, limit=ACTION_LIMIT)

    async def snapshot(self, request: CheckedRequest) -> object:
        """Make a support snapshot."""
        names = await self._chosen(tuple(filter(None, request.query.node.split(","))))
        try:
            content = await self._snapshots.make(names, request.actor)
        except SnapshotInProgressError as error:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
        name = f"{self._observer.knowledge.farm}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.zip"
        return web.Response(
            body=content,
            content_type="application/octet-stream",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    # -- commands ----------------------------------------------------------------------------------------------------

    async def act(self, request: CheckedRequest) -> object:
        """Give a command to nodes."""
        action = request.parameters["action"]
        if action not in ACTIONS:
            raise ApiError(HTTPStatus.NOT_FOUND, f"no action {action!r}; there are {', '.join(ACTIONS)}")
        body: d.FarmActionBody = request.body
        return await self._command(f"/actions/{action}", ActionBody(force=body.force), body.nodes, request)

    async def set_power(self, request: CheckedRequest) -> object:
        """Give nodes another weight."""
        body: d.FarmPowerBody = request.body
        return await self._command("/power", PowerBody(power=body.power, share=body.share), body.nodes, request)

    async def log(self, request: CheckedRequest) -> object:
        """Write an event into the log of nodes."""
        body: d.FarmLogBody = request.body
        written = LogBody(level=body.level, text=body.text, origin=body.origin)
        return await self._command("/log", written, body.nodes, request)

    async def rolling(self, _request: CheckedRequest) -> object:
        """Return the latest rolling commands."""
        return self._rolling.reports()

    async def rolling_one(self, request: CheckedRequest) -> object:
        """Return how far a rolling command is."""
        return _there(self._rolling.report(request.parameters["id"]))

    async def begin_rolling(self, request: CheckedRequest) -> object:
        """Begin a rolling command."""
        try:
            return await self._rolling.begin(request.body, request.actor)
        except RollingInProgressError as error:
            raise ApiError(HTTPStatus.CONFLICT, str(error)) from None

    async def cancel_rolling(self, request: CheckedRequest) -> object:
        """Cancel a rolling command."""
        return _there(self._rolling.cancel(request.parameters["id"], request.actor))

    # -- the stream --------------------------------------------------------------------------------------------------

    async def stream(self, request: CheckedRequest) -> object:
        """Follow the farm until the client goes."""
        http = request.http
        places = read_id(http.headers.get("Last-Event-ID", ""))
        names = set(await self._observer.node_names())
        parts = self._hub.follow(
            request.address,
            {name: place for name, place in places.items() if name in names},
            admitted=lambda: self._doorkeeper.is_still_in(http),
        )
        return await send_stream(http, parts, SAFE_HEADERS)

    # -- asking nodes ------------------------------------------------------------------------------------------------

    async def _known(self, node: str) -> None:
        names = await self._observer.node_names()
        if node not in names:
            raise ApiError(HTTPStatus.NOT_FOUND, f"no node {node!r} in the farm; there are {', '.join(names)}")

    async def _chosen(self, nodes: Sequence[str]) -> Sequence[str]:
        """Return these nodes, or all if none is named. Raise ApiError for one that the farm does not have."""
        for node in nodes:
            await self._known(node)
        return tuple(dict.fromkeys(nodes)) or await self._observer.node_names()

    async def _of_node(self, path: str, request: CheckedRequest, *, limit: float = NODE_LIMIT) -> Reply:
        node = request.parameters["node"]
        await self._known(node)
        query = q.written(request.query)
        return await self._client.ask("GET", path, node=node, query=query, actor=request.actor, limit=limit)

    async def _of_all(self, path: str, request: CheckedRequest) -> object:
        return await self._answers(path, query=q.written(request.query), actor=request.actor)

    async def _answers(
        self, path: str, *, query: Mapping[str, str] | None = None, actor: Actor | None = None
    ) -> d.NodeAnswers[msgspec.Raw]:
        async def of(node: str) -> d.NodeAnswer[msgspec.Raw]:
            try:
                reply = await self._client.ask(
                    "GET",
                    path,
                    node=node,
                    query=query,
                    actor=actor,
                    limit=NODE_LIMIT,
                    unless_silent=True,
                )
            except NoAnswerError as error:
                return d.NodeAnswer(node=node, answers=False, problem=str(error))
            if reply.status != HTTPStatus.OK:
                return d.NodeAnswer(node=node, answers=True, problem=reason_of(reply))
            return d.NodeAnswer(node=node, answers=True, document=msgspec.Raw(reply.body))

        names = await self._observer.node_names()
        return d.NodeAnswers(nodes=tuple(await asyncio.gather(*(of(name) for name in names))))

    async def _own(
        self, method: str, path: str, request: CheckedRequest, body: object = None, *, limit: float
    ) -> Reply:
        """Ask the console's own node. Raise ApiError if it refuses what it was told to do."""
        encoded = b"" if body is None else msgspec.json.encode(body)
        reply = await self._client.ask(method, path, encoded, actor=request.actor, limit=limit)
        if reply.status == HTTPStatus.CONFLICT:
            raise ApiError(HTTPStatus.CONFLICT, read_json(reply.body, CommandResult).text)
        return reply

    async def _command(self, path: str, body: object, nodes: Sequence[str], request: CheckedRequest) -> d.FarmResults:
        """Give a command to these nodes, or all if none is named, at the same time."""
        encoded = msgspec.json.encode(body)

        async def give(node: str) -> d.NodeAnswer[CommandResult]:
            try:
                reply = await self._client.ask(
                    "POST", path, encoded, node=node, actor=request.actor, limit=ACTION_LIMIT
                )
                if reply.status in (HTTPStatus.OK, HTTPStatus.CONFLICT):
                    result = read_json(reply.body, CommandResult)
                    return d.NodeAnswer(node=node, answers=True, document=result)
            except NoAnswerError as error:
                return d.NodeAnswer(node=node, answers=False, problem=f"{error}; it may still carry out the command")
            except JsonError as error:
                return d.NodeAnswer(node=node, answers=True, problem=f"its answer is not understood: {error}")
            return d.NodeAnswer(node=node, answers=True, problem=reason_of(reply))

        answers = await asyncio.gather(*(give(name) for name in await self._chosen(nodes)))
        ok = all(answer.document is not None and answer.document.ok for answer in answers)
        return d.FarmResults(ok=ok, nodes=tuple(answers))


def _imported(body: d.SafekitBody) -> SafekitReport:
    try:
        module = read_uploaded(body.name, body.content)
    except ModuleError as error:
        told = f"{error} ({error.hint})" if error.hint else str(error)
        return SafekitReport(module=body.name, problems=(told,))
    return converted(module, body.farm_file, body.macros)


def _there(report: d.RollingReport | None) -> d.RollingReport:
    if report is None:
        raise ApiError(HTTPStatus.NOT_FOUND, "there is no such rolling command at this console, or it is forgotten")
    return report


SAFE_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"What every answer of the API tells a browser: nothing of it may be run, framed, kept or read by other sites."
