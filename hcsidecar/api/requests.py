"""Helpers with which every part of the API reads requests and makes answers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import msgspec

from hcsidecar.core.access.identity import LONGEST_ACTOR
from hcsidecar.core.documents import Refusal
from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.request_bodies import Body

MAX_BODY = 65536
"Bytes of a request's body."
MAX_NUMBER = 2**53
"The largest integer that every JSON reader represents exactly."
LONGEST_NAME = 64
"Characters of a name from a request that a message repeats."

_ESCAPE = re.compile(rb"\\(?:u([0-9A-Fa-f]{4})|.)", re.DOTALL)
_HALF_OF_A_PAIR = range(0xD800, 0xE000)
_FIRST_HALF = range(0xD800, 0xDC00)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP status and a JSON document."""

    status: int
    body: bytes


B = TypeVar("B", bound=Body)
S = TypeVar("S", bound=msgspec.Struct)


class ApiError(Exception):
    """Raised if a request is not served; becomes the answer."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.reply = refused(status, reason)


def refused(status: HTTPStatus, reason: str) -> Reply:
    """Return the answer to a request that is not served."""
    return Reply(status=status, body=msgspec.json.encode(Refusal(reason=reason)))


def not_yet(reason: str) -> Reply:
    """Return the answer of a node that is still starting."""
    body = msgspec.json.encode(Refusal(reason=reason, starting=True))
    return Reply(status=HTTPStatus.SERVICE_UNAVAILABLE, body=body)


def document(what: object) -> Reply:
    """Return the answer with a document."""
    return Reply(status=HTTPStatus.OK, body=msgspec.json.encode(what))


def only(allowed: str, method: str) -> None:
    """Raise ApiError (405) unless the method is the allowed one."""
    if method != allowed:
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {allowed}")


def no_others(query: Mapping[str, str], known: set[str]) -> None:
    """Raise ApiError (400) if a query has other parameters than the known ones."""
    if unknown := sorted(set(query) - known):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"unknown parameter: {unknown[0][:LONGEST_NAME]}")


def whole(query: Mapping[str, str], name: str, default: int | None, most: int) -> int | None:
    """Return the integer parameter `name` of a query, or the default. Raise ApiError (400) if it is wrong."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{name} is a whole number, at most {most}")
    return int(text)


def decode_body(body: bytes, kind: type[S]) -> S:
    """Read the body of a POST whose `by` nobody looks at. Raise ApiError (400), which says what is wrong."""
    try:
        return read_json(body, kind)
    except JsonError as error:
        half = _half_of_a_pair(body)
        # The reader takes it for an end that comes too early.
        why = f"{half} is half of a surrogate pair, and no character" if half else error
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not right: {why}") from None


def parse_body(body: bytes, kind: type[B]) -> B:
    """Read the body of a POST. Raise ApiError (400), which says what is wrong."""
    parsed = decode_body(body, kind)
    by = parsed.by or ""
    if len(by) > LONGEST_ACTOR or not by.isprintable():
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body's `by` is not a name of at most {LONGEST_ACTOR} characters")
    return parsed


def _half_of_a_pair(body: bytes) -> str | None:
    """Return the first JSON escape of half of a surrogate pair without its other half, or None."""
    first: re.Match[bytes] | None = None
    for escape in _ESCAPE.finditer(body):
        code = int(escape[1], 16) if escape[1] else 0
        if first is not None:
            if escape.start() == first.end() and code in _HALF_OF_A_PAIR and code not in _FIRST_HALF:
                first = None
                continue
            break
        if code in _FIRST_HALF:
            first = escape
        elif code in _HALF_OF_A_PAIR:
            return escape[0].decode()
    return None if first is None else first[0].decode()
