"""Reads a form with a file in it (multipart/form-data, RFC 7578), within limits."""

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from hcsidecar.api.requests import ApiError
from hcsidecar.console.request_reading import UPLOAD_TIMEOUT

MULTIPART: Final = "multipart/form-data"
MOST_PARTS: Final = 20
"Fields of a form with a file; a further one refuses it."
_WRONG: Final = ApiError(HTTPStatus.BAD_REQUEST, "the form is not encoded as forms with files are")


async def read_multipart(http: web.Request, most: int) -> list[tuple[str, str | bytes]]:
    """Return the fields of a form by name. Raise ApiError if it is too long, too slow, or not right.

    `most` is in bytes. A file has its content as bytes, and before it, as the field NAME_name, what the browser calls
    it. What is sent must say its length, as browsers do: so nothing is read that is too long.
    """
    if http.content_length is None:
        raise ApiError(HTTPStatus.LENGTH_REQUIRED, "a form with a file is sent with its length")
    if http.content_length > most:
        raise ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the form has more than {most} bytes")
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT):
            return await _parts(http)
    except TimeoutError:
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, f"the form did not arrive within {UPLOAD_TIMEOUT:g} s") from None
    except web.RequestPayloadError:
        raise ApiError(HTTPStatus.BAD_REQUEST, "the form is broken off") from None
    # aiohttp raises these for boundaries and headers that are wrong.
    except (HttpProcessingError, ValueError, AssertionError, LookupError, RuntimeError):
        raise _WRONG from None


async def _parts(http: web.Request) -> list[tuple[str, str | bytes]]:
    found: list[tuple[str, str | bytes]] = []
    reader = await http.multipart()
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader) or not part.name:
            raise _WRONG
        if len(found) >= MOST_PARTS:
            raise ApiError(HTTPStatus.BAD_REQUEST, f"the form has more than {MOST_PARTS} fields")
        content = bytearray()
        # Not part.read(): it unpacks what is compressed, and knows another limit.
        while chunk := await part.read_chunk():
            content += chunk
        if part.filename is None:
            found.append((part.name, content.decode()))
        else:
            found += [(f"{part.name}_name", part.filename), (part.name, bytes(content))]
    return found
