"""What every part of the API needs to read a request, and to say what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import msgspec

MAX_BODY = 65536
"Bytes of a request's body."
MAX_NUMBER = 2**53
"The largest whole number that every JSON reader gets right."
LONGEST_NAME = 64
"Characters of the name of who asked."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP status and a JSON document."""

    status: int
    body: bytes


class Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What comes with every POST."""

    by: str = ""
    "Who asked, as the node says that took the request in over its unix socket."


B = TypeVar("B", bound=Body)


class ApiError(Exception):
    """A request that is not served."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.reply = refused(status, reason)


def refused(status: HTTPStatus, reason: str) -> Reply:
    """Make the answer to a request that is not served."""
    return Reply(status=status, body=msgspec.json.encode({"reason": reason}))


def document(what: object) -> Reply:
    """Make the answer that is a document."""
    return Reply(status=HTTPStatus.OK, body=msgspec.json.encode(what))


def only(allowed: str, method: str) -> None:
    """Insist on a method; ApiError (405) names it."""
    if method != allowed:
        raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, f"this path takes {allowed}")


def no_others(query: Mapping[str, str], known: set[str]) -> None:
    """Insist that a query has no other parameters; ApiError (400) names one."""
    if unknown := sorted(set(query) - known):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"unknown parameter: {unknown[0][:LONGEST_NAME]}")


def whole(query: Mapping[str, str], name: str, default: int | None, most: int) -> int | None:
    """Read a whole number of a query; ApiError (400) says what is wrong."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and int(text) <= most):
        raise ApiError(HTTPStatus.BAD_REQUEST, f"{name} is a whole number, at most {most}")
    return int(text)


def parse_body(body: bytes, kind: type[B]) -> B:
    """Read the body of a POST; ApiError (400) says what is wrong."""
    try:
        parsed = msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body is not right: {error}") from None
    if len(parsed.by) > LONGEST_NAME or not parsed.by.isprintable():
        raise ApiError(HTTPStatus.BAD_REQUEST, f"the body's `by` is not a name of at most {LONGEST_NAME} characters")
    return parsed
