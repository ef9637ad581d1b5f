"""The notices of removed nodes on the web listener, open to everybody: a removed node may have no key of the farm.

A notice is read from memory, tells no secret and proves itself; see `core/settings/removal.py`.
"""

from collections.abc import Callable
from typing import Final

from aiohttp import hdrs, web

PATH: Final = "/api/v1/settings/removals/{node}"


class RemovalsPage:
    """The notices of one node; `removal` returns that of a node by name, None if there is none."""

    def __init__(self, removal: Callable[[str], bytes | None]) -> None:
        self._removal = removal

    def routes(self) -> list[web.RouteDef]:
        """Return the routes, which must be exempt from whatever authenticates the others."""
        return [web.get(PATH, self._answer)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        notice = self._removal(request.match_info["node"])
        if notice is None:
            raise web.HTTPNotFound(text="NOT FOUND\n")
        return web.Response(body=notice, content_type="application/json", headers={hdrs.CACHE_CONTROL: "no-store"})
