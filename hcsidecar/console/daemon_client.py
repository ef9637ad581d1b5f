"""Asks the daemon of this node, over its socket for the console, and other nodes through it."""

import asyncio
import os
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from hcsidecar.api.http_sessions import plain_session, read_answer
from hcsidecar.api.requests import Reply
from hcsidecar.core.access.identity import ACTOR_HEADER, Actor, encode_actor
from hcsidecar.core.documents import Refusal
from hcsidecar.core.json_reading import JsonError, read_json

T = TypeVar("T")

PREFIX: Final = "/api/v1"
AT_ONCE: Final = 256
"Requests to the daemon at the same time; further ones wait, within their limits."
MAX_ANSWER: Final = 8 * 1024 * 1024
"Bytes of an answer."
SILENT_FOR: Final = 1.0
"Seconds for which a daemon that did not answer is not asked again for the state of the farm."
NODE_SILENT_FOR: Final = 2.0
"Seconds for which nobody waits a second time for another node that has let a request run into its limit."


class NoAnswerError(Exception):
    """A node has not answered; the text is the reason, `own` that it was the console's own one."""

    def __init__(self, reason: str, *, own: bool) -> None:
        super().__init__(reason)
        self.own = own


class DaemonClient:
    """Sends requests to the daemon. An async context manager."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._silent_since = float("-inf")
        self._silent_because = ""
        self._silent_nodes: dict[str, tuple[float, str]] = {}

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(os.fspath(self._socket), limit=AT_ONCE, keepalive_timeout=5)
        self._session = plain_session(connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    def why_silent(self) -> str | None:
        """Return why the daemon has just not answered, or None if it has, or has not been asked."""
        now = asyncio.get_running_loop().time()
        return self._silent_because if now < self._silent_since + SILENT_FOR else None

    def why_node_silent(self, node: str) -> str | None:
        """Return why another node has just let somebody wait in vain, or None if it has answered since."""
        since, why = self._silent_nodes.get(node, (float("-inf"), ""))
        return why if asyncio.get_running_loop().time() < since + NODE_SILENT_FOR else None

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        node: str | None = None,
        query: Mapping[str, str] | None = None,
        actor: Actor | None = None,
        limit: float,
        unless_silent: bool = False,
    ) -> Reply:
        """Send a request and return the answer, which may be a refusal. Raise NoAnswerError.

        `path` is below PREFIX, `node` the one that is asked through the daemon (None: itself), `actor` for whom it is
        asked, and `limit` the seconds for all of it. With `unless_silent` nothing is asked of a node that has just let
        somebody wait in vain: who wants ten documents of a dead node does not wait ten times.
        """
        if unless_silent and node is not None and (why := self.why_node_silent(node)) is not None:
            raise NoAnswerError(why, own=False)
        below = f"/nodes/{quote(node, safe='')}" if node is not None else ""
        target = f"{PREFIX}{below}{quote(path)}" + (f"?{urlencode(query)}" if query else "")
        headers = {} if actor is None else {ACTOR_HEADER: encode_actor(actor)}
        loop = asyncio.get_running_loop()
        try:
            async with self._session.request(
                method,
                URL(f"http://daemon{target}", encoded=True),
                data=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=limit),
                allow_redirects=False,
            ) as response:
                reply = Reply(status=response.status, body=await read_answer(response, at_most=MAX_ANSWER))
        except TimeoutError:
            if node is not None:
                why = f"{node} has not answered within {limit:g} s"
                if method == "GET":
                    self._silent_nodes[node] = loop.time(), why
                raise NoAnswerError(why, own=False) from None
            why = f"its daemon has not answered within {limit:g} s"
            self._silent_since, self._silent_because = loop.time(), why
            raise NoAnswerError(why, own=True) from None
        except (aiohttp.ClientError, OSError) as error:
            why = _in_plain_words(error, self._socket)
            self._silent_since, self._silent_because = loop.time(), why
            raise NoAnswerError(why, own=True) from None
        if node is not None:
            self._silent_nodes.pop(node, None)
        if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NoAnswerError(reason_of(reply), own=False)
        return reply

    async def document(
        self,
        path: str,
        kind: type[T],
        *,
        node: str | None = None,
        query: Mapping[str, str] | None = None,
        actor: Actor | None = None,
        limit: float,
        unless_silent: bool = False,
    ) -> T:
        """Return the document that a GET is answered with. Raise NoAnswerError also where there is none."""
        reply = await self.ask(
            "GET", path, node=node, query=query, actor=actor, limit=limit, unless_silent=unless_silent
        )
        if reply.status != HTTPStatus.OK:
            raise NoAnswerError(reason_of(reply), own=False)
        try:
            return read_json(reply.body, kind)
        except JsonError as error:
            why = f"its answer is not in a form that this version understands: {error}"
            raise NoAnswerError(why, own=False) from None


def reason_of(reply: Reply) -> str:
    """Return the reason in a refusal."""
    try:
        return read_json(reply.body, Refusal).reason
    except JsonError:
        return f"it answers {reply.status} without a reason; its log may say more"


def _in_plain_words(error: Exception, socket: Path) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        match error.os_error:
            case FileNotFoundError() | ConnectionRefusedError():
                return f"its daemon does not run: nobody listens on {socket}"
            case PermissionError():
                return f"the console may not use {socket}: is it the user hcsidecar-console, or the daemon's own?"
            case other:
                return f"{socket}: {other.strerror}"
    return "its daemon has ended the connection"
