"""The API over TCP, for the other nodes of the farm: every request must be signed.

A sender without the farm's key gets 401 without a body, whatever the path, and learns nothing of what exists. A sender
with the key learns why a request is refused. Requests over TCP are never relayed: a relayed request is served where it
arrives or refused, so there are no loops. To follow events, a relay repeats its request with `wait`: each answer is
finite, so it can be signed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from hcsidecar.api.auth import ANSWER_HEADER, Caller, RequestRefusal, Verifier
from hcsidecar.api.body import TIMEOUT, expect_nothing, read_body
from hcsidecar.api.requests import MAX_BODY, ApiError, Reply
from hcsidecar.api.routes import Api, refuse_from_afar
from hcsidecar.core.access.identity import by_way_of
from hcsidecar.core.documents import Refusal
from hcsidecar.core.events import Event, Level

TELL_EVERY = 60.0
"Seconds between two events about refused requests, so that nobody can fill the log from outside."


class RefusedRequests:
    """Decides which refusals the log gets: at most one in TELL_EVERY seconds, with the number of those before."""

    def __init__(self) -> None:
        self._quiet_until = float("-inf")
        self._untold = 0

    def note(self, reason: str, *, remote: str, now: float) -> Event | None:
        """Count a refusal, and return the event if it is due. `now` is in monotonic seconds."""
        if now < self._quiet_until:
            self._untold += 1
            return None
        before = f"; and {self._untold} more since the last such line" if self._untold else ""
        self._quiet_until, self._untold = now + TELL_EVERY, 0
        message = f"refused a request from {remote}: {reason}{before}"
        return Event(level=Level.WARNING, origin="api", message=message)


class FarmApi:
    """Verifies requests, passes them to the API, and signs its answers."""

    def __init__(self, api: Api, verifier: Verifier, *, clock: Callable[[], float], body_timeout: float) -> None:
        self._api = api
        self._verifier = verifier
        self._clock = clock
        self._body_timeout = body_timeout
        self._refused = RefusedRequests()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve any method and path."""
        path = request.raw_path
        header = request.headers.get(hdrs.AUTHORIZATION)
        outcome = self._verifier.verify(request.method, path, header, now=self._clock())
        if isinstance(outcome, RequestRefusal):
            return self._refuse(request, outcome)
        try:
            refuse_from_afar(request.method, request.path)
            body = await read_body(request, limit=self._body_timeout)
        except ApiError as error:
            return self._signed(outcome, error.reply)
        if not outcome.sent(body):
            return self._refuse(request, RequestRefusal(reason="its body is not the one that was signed"))
        reply = await self._api.answer(
            request.method,
            request.path,
            request.query,
            body,
            by=lambda claimed: by_way_of(claimed, outcome.node),
            sender=outcome.node,
        )
        return self._signed(outcome, reply)

    @web.middleware
    async def catch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Serve requests that match no route, such as OPTIONS * and CONNECT."""
        lost = request.match_info.http_exception is not None
        return await (self.handle(request) if lost else handler(request))

    def _refuse(self, request: web.Request, refusal: RequestRefusal) -> web.StreamResponse:
        # Do not log port scans, nor relays that do not know the challenge yet.
        if hdrs.AUTHORIZATION in request.headers and refusal.challenge is None:
            now = asyncio.get_running_loop().time()
            event = self._refused.note(refusal.reason, remote=request.remote or "somewhere", now=now)
            if event is not None:
                self._api.control.journal.write(event)
        if refusal.caller is None:
            response = web.Response(status=HTTPStatus.UNAUTHORIZED)
            response.force_close()
            return response
        told = Refusal(reason=refusal.reason, challenge=refusal.challenge)
        reply = Reply(status=HTTPStatus.UNAUTHORIZED, body=msgspec.json.encode(told))
        return self._signed(refusal.caller, reply)

    def _signed(self, caller: Caller, reply: Reply) -> web.Response:
        proof = self._verifier.sign_answer(caller, status=reply.status, body=reply.body)
        return web.Response(
            status=reply.status,
            body=reply.body,
            content_type="application/json",
            headers={ANSWER_HEADER: proof, "Cache-Control": "no-store"},
        )


def farm_app(
    api: Api,
    verifier: Verifier,
    *,
    public: Iterable[web.AbstractRouteDef] = (),
    first: Iterable[Middleware] = (),
    clock: Callable[[], float] = time.time,
    body_timeout: float = TIMEOUT,
) -> web.Application:
    """Return the web application for TCP; `clock` is the wall clock.

    Neither the `public` routes nor what a middleware of `first` answers need a signature.
    """
    door = FarmApi(api, verifier, clock=clock, body_timeout=body_timeout)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[*first, door.catch])
    app.add_routes(public)
    app.router.add_route("*", "/{path:.*}", door.handle, expect_handler=expect_nothing)
    app.on_response_prepare.append(_remove_server_header)
    return app


async def _remove_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop(hdrs.SERVER, None)
