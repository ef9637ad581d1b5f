"""The test page: tiles that say which server has answered, for looking at how clients are spread.

It is served by the console of each node on a port of its own, over plain HTTP, to everybody who reaches that port. Put
the port into a share group, or behind the balancer, and open the address that clients use. Each tile is a connection of
its own. It tells the name of the node and nothing else, and takes nothing that is sent.
"""

from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import hdrs, web

from hcsidecar.console.daemon_client import NoAnswerError
from hcsidecar.console.observer import FarmObserver
from hcsidecar.console.pages.rendering import Rendering
from hcsidecar.console.pages.serving_headers import PAGE_HEADERS
from hcsidecar.console.pages.static_files import PATH as STATIC
from hcsidecar.console.pages.static_files import StaticFiles

FILES: Final = ("console.css", "theme.js", "mosaic.js", "mosaic.css", "icon-good.svg")
"The static files that it loads."
_WHO: Final = "/who"


class Answerer(msgspec.Struct, frozen=True, kw_only=True):
    """Who has answered: `GET /who`."""

    node: str
    "Empty while the console does not know its node."


class Mosaic:
    """Serves the test page of one node."""

    def __init__(self, *, observer: FarmObserver, rendering: Rendering, static: StaticFiles) -> None:
        self._observer = observer
        self._rendering = rendering
        self._static = static

    def application(self) -> web.Application:
        """Return the web application."""
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self.serve)
        app.on_response_prepare.append(_remove_server_header)
        return app

    async def serve(self, http: web.Request) -> web.StreamResponse:
        """Serve a request. The connection ends with the answer, so that the next one is shared out anew."""
        response = await self._answer(http)
        for name, value in self._headers().items():
            response.headers.setdefault(name, value)
        response.force_close()
        return response

    async def _answer(self, http: web.Request) -> web.Response:
        if http.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={hdrs.ALLOW: "GET, HEAD"})
        path = http.path
        if path == _WHO:
            return web.Response(
                body=msgspec.json.encode(Answerer(node=await self._node())), content_type="application/json"
            )
        if path == "/":
            localized = self._rendering.in_language(None, http.headers.get(hdrs.ACCEPT_LANGUAGE, "")[:1000])
            text = localized.render("mosaic.html", node=await self._node())
            return web.Response(text=text, content_type="text/html", charset="utf-8")
        if path.removeprefix(STATIC) in FILES and path.startswith(STATIC):
            return self._static.serve(http, path.removeprefix(STATIC))
        return web.Response(status=HTTPStatus.NOT_FOUND, text="there is no such page")

    async def _node(self) -> str:
        """Return the name of the console's own node; its daemon is asked once."""
        with suppress(NoAnswerError):
            await self._observer.node_names()
        return self._observer.own_name

    @staticmethod
    def _headers() -> Mapping[str, str]:
        return PAGE_HEADERS


async def _remove_server_header(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.pop(hdrs.SERVER, None)
