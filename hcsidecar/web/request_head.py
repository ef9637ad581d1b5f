"""Reads the head of an HTTP request within strict limits.

It is lenient where probers need it (no Host, bare LF, HTTP/0.9, empty lines before the request), and strict otherwise.
RFC 9112 is the grammar of HTTP/1.1, RFC 1945 that of 1.0 and of the simple request of 0.9.
"""

import re
from functools import lru_cache
from typing import NamedTuple

import msgspec

from hcsidecar.core.health import Version
from hcsidecar.web.refusals import ConnectionRefusal

LONGEST_HEAD = 8192
"In bytes."

_REMEMBERED = 64
"Requests whose parsed heads are remembered for when they come again."
_LONGEST_REMEMBERED = 1024
"In bytes."
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_METHOD_SO_FAR = re.compile(_TOKEN + rb"(?: |\Z)")
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") ([!-~]+)(?: HTTP/([0-9])\.([0-9]))?")
_HEADER = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([ \t!-~\x80-\xff]*)")
_END = re.compile(rb"\n\r?\n")
_AUTHORITY = re.compile(rb"https?://[^/?#]*", re.IGNORECASE)


class RequestHead(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a request before its body."""

    method: str
    path: str
    "Without scheme, authority and query."
    version: Version
    has_body: bool = False
    "Something follows the head that is not a request."
    keep_alive: bool = False
    "Another request may follow; never after a body, which nobody will read."
    host: bytes | None = None
    agent: bytes = b""
    size: int
    "Its length in the stream in bytes, with the empty lines before it."


def read_head(data: bytes) -> RequestHead | ConnectionRefusal | None:
    """Return the request at the beginning of the data, or why it is refused; None while more must be read."""
    # A prober sends the same bytes each time, so the last few requests are remembered.
    return _remembered(data) if len(data) <= _LONGEST_REMEMBERED else _read(data)


class RequestLine(NamedTuple):
    """What a request asks for."""

    method: str
    path: str


def asked_for(data: bytes) -> RequestLine | None:
    """Return what is asked for by a request that is refused for another reason; None if it has no request line."""
    line, end, _ = data.lstrip(b"\r\n").partition(b"\n")
    request = _REQUEST_LINE.fullmatch(line.removesuffix(b"\r")) if end else None
    return RequestLine(request[1].decode("ascii"), _path(request[2])) if request else None


def _read(data: bytes) -> RequestHead | ConnectionRefusal | None:
    start = 0
    while data.startswith((b"\r\n", b"\n"), start):
        start += 2 if data[start] == ord("\r") else 1
    line_end = data.find(b"\n", start, LONGEST_HEAD)
    if line_end < 0:
        return _incomplete(data, start)
    request = _REQUEST_LINE.fullmatch(data, start, _without_cr(data, start, line_end))
    if not request:
        return ConnectionRefusal.REQUEST_LINE
    method, target, major, minor = request.groups()
    if major is None:
        return _simple_request(method, target, line_end + 1)
    if major != b"1":
        return ConnectionRefusal.HTTP_2 if major == b"2" else ConnectionRefusal.REQUEST_LINE
    end = _END.search(data, line_end, LONGEST_HEAD)
    if not end:
        return None if len(data) < LONGEST_HEAD else ConnectionRefusal.TOO_LARGE
    headers = _read_headers(data[line_end + 1 : end.start()])
    if isinstance(headers, ConnectionRefusal):
        return headers
    connection = {token.strip() for token in headers.get(b"connection", b"").lower().split(b",")}
    version = Version.HTTP_1_0 if minor == b"0" else Version.HTTP_1_1
    stays = b"close" not in connection and (version is Version.HTTP_1_1 or b"keep-alive" in connection)
    has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0").strip(b"0") != b""
    return RequestHead(
        method=method.decode("ascii"),
        path=_path(target),
        version=version,
        has_body=has_body,
        keep_alive=stays and not has_body,
        host=headers.get(b"host"),
        agent=headers.get(b"user-agent", b""),
        size=end.end(),
    )


_remembered = lru_cache(maxsize=_REMEMBERED)(_read)


def _incomplete(data: bytes, start: int) -> ConnectionRefusal | None:
    """Return why a request line without an end is refused; None if more may come."""
    if len(data) >= LONGEST_HEAD:
        return ConnectionRefusal.TOO_LARGE
    rest = data[start:]
    # Bytes that are not a method, such as a TLS handshake, never become a request; waiting for more would only hold a
    # place.
    return None if rest in (b"", b"\r") or _METHOD_SO_FAR.match(rest) else ConnectionRefusal.REQUEST_LINE


def _simple_request(method: bytes, target: bytes, size: int) -> RequestHead | ConnectionRefusal:
    if method != b"GET":
        return ConnectionRefusal.REQUEST_LINE
    return RequestHead(method="GET", path=_path(target), version=Version.HTTP_0_9, size=size)


def _read_headers(block: bytes) -> dict[bytes, bytes] | ConnectionRefusal:
    """Return the headers by lower-case name; values of the same name are joined by commas."""
    headers: dict[bytes, bytes] = {}
    if not block:
        return headers
    for line in block.split(b"\n"):
        header = _HEADER.fullmatch(line.removesuffix(b"\r"))
        if not header:
            return ConnectionRefusal.HEADER
        name, value = header[1].lower(), header[2].rstrip()
        headers[name] = headers[name] + b"," + value if name in headers else value
    return headers


def _path(target: bytes) -> str:
    authority = _AUTHORITY.match(target)
    path = target[authority.end() :] if authority else target
    return path.partition(b"?")[0].partition(b"#")[0].decode("ascii") or "/"


def _without_cr(data: bytes, start: int, end: int) -> int:
    return end - 1 if end > start and data[end - 1] == ord("\r") else end
