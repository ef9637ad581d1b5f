"""Reads what a request brings, for the API and for pages: parameters and bodies, within limits of size and time."""

import asyncio
from http import HTTPStatus
from typing import Any, Final

import msgspec
from aiohttp import web

from hcsidecar.api.requests import ApiError
from hcsidecar.core.console.queries import read_query
from hcsidecar.core.json_reading import JsonError

BODY_TIMEOUT: Final = 10.0
"Seconds in which a small body must arrive; a bundle has more."
UPLOAD_TIMEOUT: Final = 60.0
UPLOADS: Final = 2
"Bundles that are received at the same time."


def checked_query(http: web.Request, kind: type[msgspec.Struct]) -> Any:
    """Return the parameters of a request, of this type. Raise ApiError if they are not right."""
    query = http.query
    if len(set(query)) != len(query):
        raise ApiError(HTTPStatus.BAD_REQUEST, "a parameter is there twice")
    try:
        return read_query(query, kind)
    except JsonError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from None


async def read_body(http: web.Request, most: int, limit: float) -> bytes:
    """Return the body of a request. Raise ApiError if it is too long, or does not arrive in time."""
    if http.content_length is not None and http.content_length > most:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most} bytes")
    body = bytearray()
    try:
        async with asyncio.timeout(limit):
            async for chunk in http.content.iter_any():
                body += chunk
                if len(body) > most:
                    raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {most} bytes")
    except TimeoutError:
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {limit:g} s") from None
    except web.RequestPayloadError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the body is broken off or badly encoded") from None
    return bytes(body)
