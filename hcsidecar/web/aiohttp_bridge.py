"""The health answers on connections that the front door has handed over to aiohttp, and a quiet log for aiohttp."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from aiohttp import http_exceptions, web
from aiohttp.typedefs import Handler, Middleware

from hcsidecar.core.health import METHODS, HealthFace
from hcsidecar.core.probers import LONGEST_FIELD, Prober
from hcsidecar.web.refusals import ConnectionRefusal


def health_middleware(face: HealthFace) -> Middleware:
    """Return what answers probes as the front door does, on connections that it has handed over.

    It must come before whatever authenticates requests. No routes, because the health path may change.
    """
    answer_probe = _health_handler(face)

    @web.middleware
    async def probes_first(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await (answer_probe if request.path in face.paths else handler)(request)

    return probes_first


def _health_handler(face: HealthFace) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer_probe(request: web.Request) -> web.StreamResponse:
        if request.method not in METHODS:
            raise web.HTTPMethodNotAllowed(request.method, METHODS, text="METHOD NOT ALLOWED\n")
        answer = face.answer
        headers = answer.headers
        if request.method == "OPTIONS":
            headers["Allow"] = ", ".join(METHODS)
        prober = Prober(
            address=request.remote or "",
            method=request.method,
            path=request.path,
            host=_field(request, "Host"),
            agent=_field(request, "User-Agent"),
        )
        face.note(prober, now=asyncio.get_running_loop().time())
        return web.Response(status=answer.status, text=answer.body, headers=headers)

    return answer_probe


def _field(request: web.Request, name: str) -> bytes:
    return request.headers.get(name, "").encode("utf-8", "surrogateescape")[:LONGEST_FIELD]


def counting_logger(refusals: Counter[ConnectionRefusal]) -> logging.Logger:
    """Return the logger for an aiohttp runner: it passes our own bugs and counts faulty requests.

    aiohttp would write a traceback for each request that it cannot read.
    """

    def is_ours(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, http_exceptions.HttpProcessingError | web.RequestPayloadError):
            refusals[ConnectionRefusal.UNREADABLE_FOR_API] += 1
            return False
        return True

    logger = logging.Logger("hcsidecar.web")  # noqa: LOG001 - a registered one would be shared, filter and all
    logger.parent = logging.getLogger("hcsidecar")
    logger.addFilter(is_ours)
    return logger
