"""`/metrics` on the web listener: open to everybody who reaches it, like the health URL, and cheap however often asked.

It is not part of the API: a monitoring system holds no key of the farm. The page tells no secret and changes nothing.
The text is written at most once a second in each format; further requests get the same text again.
"""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Final

from aiohttp import hdrs, web

from hcsidecar.core.metric_catalogue import Family

if TYPE_CHECKING:
    from hcsidecar.web.exposition import Form, MetricsText

PATH: Final = "/metrics"
METHODS: Final = ("GET", "HEAD")
FRESH: Final = 1.0
"Seconds for which a text is reused: we cannot limit how often it is asked for, only what that costs."


class MetricsPage:
    """The page of one node; `metrics` returns its families, from memory. A text is reused for `fresh` seconds."""

    def __init__(self, metrics: Callable[[], Sequence[Family]], *, fresh: float = FRESH) -> None:
        self._metrics = metrics
        self._fresh = fresh
        self._exposition: ModuleType | None = None
        self._written: dict[Form, tuple[float, MetricsText]] = {}
        "By format: the text, and when it was written."

    def routes(self) -> list[web.RouteDef]:
        """Return the routes, which must be exempt from whatever authenticates the others."""
        return [web.route("*", PATH, self._answer)]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.method not in METHODS:
            raise web.HTTPMethodNotAllowed(request.method, METHODS, text="METHOD NOT ALLOWED\n")
        if self._exposition is None:
            # In a thread: the library takes 20 ms to load, and longer on a busy machine.
            self._exposition = await asyncio.to_thread(importlib.import_module, "hcsidecar.web.exposition")
        page = self._text(self._exposition.form_for(request.headers.get(hdrs.ACCEPT, "")))
        headers = {hdrs.CONTENT_TYPE: page.content_type, hdrs.CACHE_CONTROL: "no-store"}
        return web.Response(body=page.text, headers=headers)

    def _text(self, form: "Form") -> "MetricsText":
        """Return a new text, or the last one. Runs on the loop: it takes about a millisecond."""
        from hcsidecar.web.exposition import render  # noqa: PLC0415 - loaded above

        now = asyncio.get_running_loop().time()
        written = self._written.get(form)
        if written is None or now >= written[0] + self._fresh:
            written = self._written[form] = now, render(self._metrics(), form)
        return written[1]
