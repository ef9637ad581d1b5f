"""The API on the unix socket of this machine: serves root and the daemon's user, and relays to other nodes.

It adds three things to `Api`: the paths /api/v1/nodes/NODE/…, which are the API of another node of the farm (or of this
one); following; and for whom a process asks. GET …/events?follow=1 goes on as lines of JSON, each an event or a notice
(an object with "notice" in place of "message"). A process that may control the node may name in the header
`X-Farm-Actor` the person or the program for whom it asks (`core.access.identity`): then events name him, and he may do
what his role may.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import aclosing
from http import HTTPStatus
from typing import Protocol, cast
from urllib.parse import quote, urlencode

from aiohttp import web
from aiohttp.typedefs import Handler

from hcsidecar.api import access as access_api
from hcsidecar.api import certificates as certificates_api
from hcsidecar.api import joining as joining_api
from hcsidecar.api import keys as keys_api
from hcsidecar.api import settings as settings_api
from hcsidecar.api.body import TIMEOUT, expect_nothing, read_body
from hcsidecar.api.events import parse_events_query
from hcsidecar.api.following import FetchEvents, follow
from hcsidecar.api.relay import Relay, UnreachableError
from hcsidecar.api.requests import MAX_BODY, ApiError, Reply, not_yet, refused
from hcsidecar.api.routes import (
    CHECK_PATH,
    CHECK_TAKES,
    LOG_PATH,
    PREFIX,
    SNAPSHOT_PATH,
    SNAPSHOT_TAKES,
    Api,
    refuse_from_afar,
    say_who_asked,
)
from hcsidecar.core.access.identity import ACTOR_HEADER, Actor, Via, decode_actor
from hcsidecar.core.access.roles import why_not_permitted
from hcsidecar.core.events import Event, Level
from hcsidecar.core.joining.messages import TOKENS
from hcsidecar.core.key_messages import KEYS_PATH

_PEER_CREDENTIALS = struct.Struct("3i")
"struct ucred of unix(7): process, user, group."


def why_not_trusted(*, uid: int, own: int) -> str | None:
    """Return why a user may not control this node, or None for root and the daemon's own user."""
    if uid in (0, own):
        return None
    return f"user {uid} may not control this node, only root and user {own}"


def peer_uid(connection: socket.socket) -> int | None:
    """Return the user id of the peer; None if the platform does not tell, so that only the mode 0600 protects."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    _, uid, _ = _PEER_CREDENTIALS.unpack(data)
    return cast("int", uid)


class Admit(Protocol):
    """Decides who a request is from, on one of the sockets of this machine."""

    def __call__(self, request: web.Request, path: str, /, *, uid: int | None) -> str:
        """Return who asks, for the log. Raise ApiError if the request is not served.

        `path` is that of the API of one node; `uid` the user of the peer, None where the platform does not tell.
        """


def admit_own_users(request: web.Request, path: str, *, uid: int | None) -> str:
    """Admit root and the daemon's user, or the person for whom they ask; see `Admit`."""
    if uid is not None and (why := why_not_trusted(uid=uid, own=os.geteuid())):
        raise ApiError(HTTPStatus.FORBIDDEN, why)
    header = request.headers.get(ACTOR_HEADER)
    if header is None:
        return "root" if uid == 0 else "local user" if uid is None else f"user {uid}"
    actor = decode_actor(header)
    if actor is None:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the header {ACTOR_HEADER} does not name anybody")
    if why := why_not_asked(actor, request.method, path):
        raise ApiError(HTTPStatus.FORBIDDEN, why)
    return str(actor)


def why_not_asked(actor: Actor, method: str, path: str) -> str | None:
    """Return why a request is not served for somebody, or None; `path` is that of the API of one node."""
    identity = actor.identity
    if identity.via is Via.COMMAND_LINE:  # somebody who may control the node, by the name with which he signed in
        return None
    return why_not_permitted(identity.role, method, path.removeprefix(f"{PREFIX}/"), person=identity.person)


class LocalApi:
    """Serves the requests that come over the socket."""

    def __init__(
        self,
        api: Api,
        relay: Relay,
        *,
        admit: Admit,
        starting: Callable[[], str | None],
        body_timeout: float,
    ) -> None:
        self._admit = admit
        self._api = api
        self._starting = starting
        self._relay = relay
        self._body_timeout = body_timeout
        self._following: set[asyncio.Task[object]] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve any method and path."""
        connection = request.get_extra_info("socket")
        if connection is None:
            return _response(refused(HTTPStatus.FORBIDDEN, "the peer is gone"))
        try:
            return await self._serve(request, peer_uid(connection))
        except ApiError as error:
            return _response(error.reply)
        except UnreachableError as error:
            return _response(refused(HTTPStatus.BAD_GATEWAY, str(error)))

    @web.middleware
    async def catch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve requests that match no route, such as OPTIONS * and CONNECT."""
        lost = request.match_info.http_exception is not None
        return await (self.handle(request) if lost else handler(request))

    async def end_following(self, _app: web.Application) -> None:
        """End the streams of followers when the server shuts down; they have no end of their own."""
        for task in self._following:
            task.cancel()

    async def _serve(self, request: web.Request, uid: int | None) -> web.StreamResponse:
        method, path, query = request.method, request.path, dict(request.query)
        node = self._api.control.node
        match path.split("/"):
            case ["", "api", "v1", "nodes", name, *rest]:
                node, path = name, "/".join([PREFIX, *rest])
            case _:
                pass
        by = self._admit(request, path, uid=uid)
        if node not in self._api.control.nodes:
            known = ", ".join(self._api.control.nodes)
            raise ApiError(
                HTTPStatus.NOT_FOUND, f"no node {node!r} in farm {self._api.control.farm}; there are {known}"
            )
        if (node, path) != (self._api.control.node, f"{PREFIX}/events") and (why := self._starting()):
            return _response(not_yet(why))
        body = await read_body(request, limit=self._body_timeout)

        async def ask(query: Mapping[str, str]) -> Reply:
            if node == self._api.control.node:
                return await self._api.answer(method, path, query, body, by=lambda _claimed: by)
            return await self._relayed(node, method, path, query=query, body=body, by=by)

        if path == f"{PREFIX}/events" and "follow" in query:
            if query.pop("follow") != "1" or "wait" in query:
                raise ApiError(HTTPStatus.BAD_REQUEST, "follow is 1 or absent, and waits by itself")
            return await self._follow(request, node, query, ask)
        return _response(await ask(query))

    def _ended(self, node: str) -> bool:
        return node == self._api.control.node and self._api.control.journal.closed

    async def _relayed(
        self, node: str, method: str, path: str, *, query: Mapping[str, str], body: bytes, by: str
    ) -> Reply:
        refuse_from_afar(method, path)
        if method == "POST" and path.startswith(f"{PREFIX}/settings/"):
            raise ApiError(HTTPStatus.BAD_REQUEST, settings_api.ON_THE_NODE_ITSELF)
        if method == "POST" and path.startswith(f"{KEYS_PATH}/"):
            raise ApiError(HTTPStatus.BAD_REQUEST, keys_api.ON_THE_NODE_ITSELF)
        if path.startswith(f"{certificates_api.CERTIFICATES_PATH}/"):
            raise ApiError(HTTPStatus.BAD_REQUEST, certificates_api.ON_THIS_MACHINE)
        if path == TOKENS:
            raise ApiError(HTTPStatus.BAD_REQUEST, joining_api.ON_THE_NODE_ITSELF)
        if path.startswith(f"{PREFIX}/access") and (method, path) != ("GET", f"{PREFIX}/access"):
            raise ApiError(HTTPStatus.BAD_REQUEST, access_api.ON_THIS_NODE)
        wait = {CHECK_PATH: CHECK_TAKES, SNAPSHOT_PATH: SNAPSHOT_TAKES}.get(path, 0.0)
        if path == f"{PREFIX}/events":
            wait = parse_events_query(query).wait
        if method == "POST":
            body = say_who_asked(path, body, by)
            self._tell_of(node, path, by)
        target = quote(path) + (f"?{urlencode(query)}" if query else "")
        return await self._relay.ask(node, method, target, body, wait=wait)

    def _tell_of(self, node: str, path: str, by: str) -> None:
        """Write down that somebody has asked another node for something through this one."""
        if path != LOG_PATH:  # an entry for the log says itself who has written it
            what = path.removeprefix(f"{PREFIX}/").removeprefix("actions/")
            message = f"passed on to {node}: {what}, asked for by {by}"
            self._api.control.journal.write(Event(level=Level.INFO, origin="api", message=message))

    async def _follow(
        self, request: web.Request, node: str, query: Mapping[str, str], ask: FetchEvents
    ) -> web.StreamResponse:
        first = await ask(query)
        if first.status != HTTPStatus.OK:
            return _response(first)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._following.add(task)
        try:
            await response.prepare(request)
            wanted = {name: query[name] for name in ("level", "since", "until", "grep") if name in query}
            stream = follow(node, first, wanted=wanted, ask=ask, ended=lambda: self._ended(node))
            async with aclosing(stream):
                async for lines in stream:
                    if request.transport is None:
                        break
                    # This waits while the follower reads too slowly. It gets a notice of events that it misses then.
                    await response.write(lines)
            await response.write_eof()
        except ConnectionError:
            pass  # the follower has closed the connection
        finally:
            self._following.discard(task)
        return response


def local_app(
    api: Api,
    relay: Relay,
    *,
    admit: Admit = admit_own_users,
    starting: Callable[[], str | None] = lambda: None,
    body_timeout: float = TIMEOUT,
    max_body: int = MAX_BODY,
) -> web.Application:
    """Return the web application for a unix socket; while `starting` returns a reason, it serves only events.

    `max_body` is in bytes.
    """
    door = LocalApi(api, relay, admit=admit, starting=starting, body_timeout=body_timeout)
    app = web.Application(client_max_size=max_body, middlewares=[door.catch])
    app.router.add_route("*", "/{path:.*}", door.handle, expect_handler=expect_nothing)
    app.on_shutdown.append(door.end_following)
    return app


def _response(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status,
        body=reply.body,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
