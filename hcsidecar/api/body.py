"""Reads the body of a request within limits of size and time."""

import asyncio
from http import HTTPStatus

from aiohttp import web

from hcsidecar.api.requests import MAX_BODY, ApiError

TIMEOUT = 5.0
"Seconds in which a body must arrive. aiohttp itself waits without limit when a chunk breaks off in the middle."


async def read_body(request: web.Request, *, limit: float = TIMEOUT) -> bytes:
    """Return the body of a request. Raise ApiError if it cannot be read within `limit` seconds."""
    try:
        async with asyncio.timeout(limit):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {MAX_BODY} bytes") from None
    except TimeoutError:
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {limit:g} s") from None
    except web.RequestPayloadError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is broken off or badly encoded") from None


async def expect_nothing(_request: web.Request) -> None:
    """Answer neither 100 nor 417: a client that expects "100 Continue" sends its body after a while anyway."""
