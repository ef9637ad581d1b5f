"""The files that pages load: style, scripts, icons.

Which there are is known at the start, so no path leads elsewhere.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

DIRECTORY: Final = Path(__file__).parents[1] / "static"
PATH: Final = "/static/"
_KINDS: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
_FOR_EVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class _StaticFile:
    path: Path
    kind: str
    tag: str
    "Of its content; a part of its URL, so that a browser keeps it until it changes."


class StaticFiles:
    """The files below a directory, by their names."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self._files = {
            path.relative_to(directory).as_posix(): _StaticFile(
                path=path,
                kind=_KINDS[path.suffix],
                tag=hashlib.sha256(path.read_bytes()).hexdigest()[:16],
            )
            for path in sorted(directory.rglob("*"))
            if path.suffix in _KINDS
        }

    def url(self, name: str) -> str:
        """Return the URL of a file. Raise KeyError if there is none of this name."""
        return f"{PATH}{name}?v={self._files[name].tag}"

    def serve(self, request: web.Request, name: str) -> web.Response:
        """Return the answer with a file; 404 if there is none of this name."""
        found = self._files.get(name)
        if found is None:
            return web.Response(status=HTTPStatus.NOT_FOUND, text="there is no such file")
        known = request.query.get("v") == found.tag
        headers = {
            hdrs.CONTENT_TYPE: found.kind,
            hdrs.ETAG: f'"{found.tag}"',
            hdrs.CACHE_CONTROL: _FOR_EVER if known else "no-cache",
            hdrs.VARY: hdrs.ACCEPT_ENCODING,
        }
        if request.headers.get(hdrs.IF_NONE_MATCH) == f'"{found.tag}"':
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
        if "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, ""):
            headers[hdrs.CONTENT_ENCODING] = "gzip"
            return web.Response(body=_compressed(found.path), headers=headers)
        return web.Response(body=found.path.read_bytes(), headers=headers)


@lru_cache(maxsize=64)
def _compressed(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)
