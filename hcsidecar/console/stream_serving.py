"""Sends a stream of server-sent events to a client until one of both ends it."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.console.hub import TooManyStreamsError

WRITE_LIMIT: Final = 20.0
"Seconds that a client of the stream may take for one write."


async def send_stream(
    http: web.Request, parts: AsyncGenerator[bytes, None], headers: Mapping[str, str]
) -> web.StreamResponse:
    """Return the answer after the last part has been sent. Raise ApiError if there is no room for another stream."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no", **headers}
    )
    try:
        first = await anext(parts)
        await response.prepare(http)
        await _write(response, first)
        async for part in parts:
            if http.transport is None:
                break
            await _write(response, part)
        await response.write_eof()
    except TooManyStreamsError as error:
        raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, str(error)) from None
    except (ConnectionError, TimeoutError):
        # It has gone, or reads too slowly; it comes back, and goes on where it was.
        if http.transport is not None:
            http.transport.abort()
    finally:
        await parts.aclose()
    return response


async def _write(response: web.StreamResponse, part: bytes) -> None:
    async with asyncio.timeout(WRITE_LIMIT):
        await response.write(part)
