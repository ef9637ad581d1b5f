"""The part of the API with which a new server joins: over TLS with the farm's own certificate, by a token.

See `core.joining.messages`. Without TLS all of it is refused like any other request that is not signed. The tokens are
made on the unix socket of a node:

POST /api/v1/joining/tokens          a token for a new server; only on the node itself
"""

from http import HTTPStatus
from typing import Protocol

from aiohttp import web

from hcsidecar.api.body import read_body
from hcsidecar.api.requests import ApiError, Reply, document, only, parse_body, refused
from hcsidecar.core.documents import CommandResult
from hcsidecar.core.joining.messages import (
    APPLY,
    DONE,
    PATH,
    PLAN,
    PROOF,
    Greeting,
    Handout,
    JoinBody,
    JoinPlan,
    JoinTokenAnswer,
    JoinTokenBody,
)
from hcsidecar.core.joining.token_book import BookedToken, JoinRefusal
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.metrics import JoiningFigures

LONGEST_PROOF = 64
ON_THE_NODE_ITSELF = "a token is made on the node itself, which alone knows it: run hcsidecar token there"


class Joining(Protocol):
    """The daemon, as this part of the API sees it."""

    def figures(self) -> JoiningFigures:
        """Return what the metrics tell of tokens."""

    def make_token(self, body: JoinTokenBody, *, by: str) -> JoinTokenAnswer:
        """Make a token, or say why not."""

    def greet(self) -> Greeting | None:
        """Return who answers; None in a farm without an authority."""

    def admit(self, body: JoinBody, *, proof: str, path: str, content: bytes, source: str) -> BookedToken | JoinRefusal:
        """Return the token of a request, or why it is not served."""

    async def plan(self, body: JoinBody, token: BookedToken) -> JoinPlan:
        """Return what adding a node does; changes nothing."""

    async def apply(self, body: JoinBody, token: BookedToken) -> Handout:
        """Add the node, and return what it needs."""

    def done(self, body: JoinBody, token: BookedToken) -> None:
        """Note that the new server has everything."""


class JoiningDoor:
    """Answers new servers on the web port. `joining` is None until the daemon has started."""

    def __init__(self) -> None:
        self.joining: Joining | None = None

    def routes(self) -> list[web.RouteDef]:
        """Return the routes, which need no signature."""
        return [web.route("*", PATH, self._greet), *(web.route("*", path, self._serve) for path in (PLAN, APPLY, DONE))]

    async def _greet(self, request: web.Request) -> web.StreamResponse:
        joining = self._joining_for(request, "GET")
        greeting = None if joining is None else joining.greet()
        return _stranger() if greeting is None else _response(document(greeting))

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        joining = self._joining_for(request, "POST")
        if joining is None:
            return _stranger()
        try:
            content = await read_body(request)
            body = read_json(content, JoinBody)
        except ApiError as error:
            return _response(error.reply)
        except JsonError as error:
            return _response(refused(HTTPStatus.BAD_REQUEST, f"the body is not right: {error}"))
        proof = request.headers.get(PROOF, "")[:LONGEST_PROOF]
        source = request.remote or "somewhere"
        token = joining.admit(body, proof=proof, path=request.path, content=content, source=source)
        if isinstance(token, JoinRefusal):
            return _response(refused(HTTPStatus.FORBIDDEN, token.reason))
        if request.path == PLAN:
            return _response(document(await joining.plan(body, token)))
        if request.path == APPLY:
            return _response(document(await joining.apply(body, token)))
        joining.done(body, token)
        return _response(document(CommandResult(ok=True, text="the token is used")))

    def _joining_for(self, request: web.Request, method: str) -> Joining | None:
        """Return who serves a request, None if it is not to be served."""
        over_tls = request.get_extra_info("ssl_object") is not None
        return self.joining if over_tls and request.method == method else None


async def answer(joining: Joining, method: str, body: bytes, *, by: str, sender: str | None) -> Reply:
    """Make a token: on the node itself only."""
    if sender is not None:
        raise ApiError(HTTPStatus.BAD_REQUEST, ON_THE_NODE_ITSELF)
    only("POST", method)
    return document(joining.make_token(parse_body(body, JoinTokenBody), by=by))


def _stranger() -> web.Response:
    response = web.Response(status=HTTPStatus.UNAUTHORIZED)
    response.force_close()
    return response


def _response(reply: Reply) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(status=reply.status, body=reply.body, content_type="application/json", headers=headers)
