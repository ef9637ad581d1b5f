"""The web application of the console: checks requests of the API by the table of routes; the others are for pages."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler as HttpHandler

from hcsidecar.api.body import expect_nothing
from hcsidecar.api.requests import ApiError, Reply, decode_body, refused
from hcsidecar.console.daemon_client import NoAnswerError
from hcsidecar.console.doorkeeper import Doorkeeper
from hcsidecar.console.handlers import SAFE_HEADERS, CheckedRequest, Handlers, WithCookie
from hcsidecar.console.listening import ConsoleConnection
from hcsidecar.console.pages.serving import PageServer
from hcsidecar.console.pages.session_cookie import set_session
from hcsidecar.console.request_reading import BODY_TIMEOUT, UPLOAD_TIMEOUT, UPLOADS, checked_query, read_body
from hcsidecar.core.console.openapi import BACKGROUND_HEADER
from hcsidecar.core.console.routes import MAX_BODY, Route, find_route, why_not_parameter

_JSON: Final = "application/json"
_LONGEST_PATH: Final = 2048


class ConsoleApp:
    """Serves every request that comes to the console."""

    def __init__(self, handlers: Handlers, doorkeeper: Doorkeeper, pages: PageServer, *, secure: bool) -> None:
        """With `secure` it is served over TLS, and cookies are sent over TLS only."""
        self._handlers = handlers
        self._doorkeeper = doorkeeper
        self._pages = pages
        self._secure = secure
        self._uploads = asyncio.Semaphore(UPLOADS)

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application(client_max_size=0, middlewares=[self._catch])
        app.router.add_route("*", "/{path:.*}", self.serve, expect_handler=expect_nothing)
        app.on_response_prepare.append(_remove_server_header)
        return app

    async def serve(self, http: web.Request) -> web.StreamResponse:
        """Serve any method and path."""
        try:
            return await self._serve(http)
        except ApiError as error:
            return self._response(http, error.reply)
        except NoAnswerError as error:
            status = HTTPStatus.SERVICE_UNAVAILABLE if error.own else HTTPStatus.BAD_GATEWAY
            return self._response(http, refused(status, str(error)))

    @web.middleware
    async def _catch(self, request: web.Request, handler: HttpHandler) -> web.StreamResponse:
        """Serve requests that match no route, such as OPTIONS * and CONNECT."""
        lost = request.match_info.http_exception is not None
        return await (self.serve(request) if lost else handler(request))

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        if isinstance(http.protocol, ConsoleConnection):
            http.protocol.request_has_come()
        path = _decoded(http.rel_url.raw_path)
        if path.split("/")[1:2] != ["api"]:
            return await self._pages.serve(http, path)
        found = find_route(http.method, path)
        if isinstance(found, tuple):
            return self._response(http, _nothing_there(found), {hdrs.ALLOW: ", ".join(found)} if found else {})
        route = found.route
        caller = None if route.role is None else await self._doorkeeper.identify(http, route.role)
        for name, value in found.parameters.items():
            if why := why_not_parameter(name, value):
                raise ApiError(HTTPStatus.NOT_FOUND, why)
        request = CheckedRequest(
            route=route,
            parameters=found.parameters,
            query=checked_query(http, route.query),
            body=await self._body(http, route),
            caller=caller,
            http=http,
        )
        answer = await self._handlers.of(route)(request)
        asked_by_itself = BACKGROUND_HEADER in http.headers
        cookie = "" if caller is None or asked_by_itself else caller.renewed
        return self._answered(http, route, answer, cookie)

    async def _body(self, http: web.Request, route: Route) -> Any:
        if route.body is None:
            return None
        if http.content_type != _JSON:
            raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body is JSON, with Content-Type: {_JSON}")
        if route.max_body == MAX_BODY:
            return decode_body(await read_body(http, route.max_body, BODY_TIMEOUT), route.body)
        if self._uploads.locked():
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "other bundles are being uploaded: try it again in a moment")
        async with self._uploads:
            return decode_body(await read_body(http, route.max_body, UPLOAD_TIMEOUT), route.body)

    def _answered(self, http: web.Request, route: Route, answer: object, cookie: str) -> web.StreamResponse:
        match answer:
            case web.StreamResponse():
                if not answer.prepared:
                    answer.headers.update(SAFE_HEADERS)
                return answer
            case Reply():
                response = self._response(http, answer)
            case WithCookie():
                response = self._response(http, Reply(status=route.status, body=msgspec.json.encode(answer.document)))
                set_session(response, answer.session, secure=self._secure)
                return response
            case _:
                response = self._response(http, Reply(status=route.status, body=msgspec.json.encode(answer)))
        if cookie:
            set_session(response, cookie, secure=self._secure)
        return response

    def _response(self, http: web.Request, reply: Reply, more: Mapping[str, str] | None = None) -> web.Response:
        headers = {**SAFE_HEADERS, **(more or {})}
        if reply.status == HTTPStatus.UNAUTHORIZED:
            headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="hcsidecar"'
        response = web.Response(status=reply.status, body=reply.body, content_type=_JSON, headers=headers)
        if http.can_read_body and not http.content.is_eof():
            # What is left of a refused body is not worth reading.
            response.force_close()
        return response


def _decoded(path: str) -> str:
    """Return a path with its parts decoded. Raise ApiError if that is no text, or could be taken for other parts."""
    if len(path) > _LONGEST_PATH:
        raise ApiError(HTTPStatus.NOT_FOUND, "the API has no path that is so long")
    parts = []
    for part in path.split("/"):
        try:
            text = unquote_to_bytes(part).decode()
        except UnicodeDecodeError:
            raise ApiError(HTTPStatus.NOT_FOUND, "the path is not UTF-8") from None
        if "/" in text or not text.isprintable():
            raise ApiError(HTTPStatus.NOT_FOUND, "the API has no such path")
        parts.append(text)
    return "/".join(parts)


def _nothing_there(methods: tuple[str, ...]) -> Reply:
    if not methods:
        return refused(HTTPStatus.NOT_FOUND, "the API has no such path; GET /api/v1/openapi.json describes it")
    return refused(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {', '.join(methods)}")


async def _remove_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop(hdrs.SERVER, None)
