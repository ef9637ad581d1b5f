"""The relay: sends signed requests to the API of other nodes, and believes only signed answers.

Over TLS the certificate is not checked. Both ends prove with every message that they have the farm's key, which is
stronger than a certificate and needs neither an authority nor host names. An attacker on the path could only read what
is sent, as without TLS: states, events, and the output of the application's scripts.
"""

import os
import secrets
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from hcsidecar.api.auth import ANSWER_HEADER, Signer
from hcsidecar.api.control import ApiAddress, Control
from hcsidecar.api.http_sessions import plain_session, read_answer
from hcsidecar.api.requests import Reply
from hcsidecar.core.documents import Refusal
from hcsidecar.core.json_reading import JsonError, read_json

TIMEOUT = 5.0
"Seconds for a whole request; the other node answers from memory."
CONNECT_TIMEOUT = 2.0
"Seconds to connect to a node; the kernel repeats a lost SYN after one second."
MAX_ANSWER = 4 * 1024 * 1024
"Bytes of an answer; a full page of events has 2.5 MB at most."


class UnreachableError(Exception):
    """Raised if there is no valid answer of the other node; the text is the reason.

    With `may_be_tried_elsewhere` the node cannot have acted on the request.
    """

    def __init__(self, text: str, *, may_be_tried_elsewhere: bool = False) -> None:
        super().__init__(text)
        self.may_be_tried_elsewhere = may_be_tried_elsewhere


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    method: str
    path: str
    "The path with its query."
    body: bytes
    limit: float
    "Seconds for the whole request."


class Relay:
    """Sends requests to other nodes. An async context manager; one per daemon."""

    def __init__(
        self,
        control: Control,
        signer: Signer,
        *,
        clock: Callable[[], float] = time.time,
        timeout: float = TIMEOUT,
    ) -> None:
        """`clock` is the wall clock, for signatures; `timeout` is for a whole request, in seconds."""
        self._control = control
        self._signer = signer
        self._clock = clock
        self._timeout = timeout
        self._challenges: dict[str, str] = {}
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    async def __aenter__(self) -> Self:
        # One connection per request: none goes stale when a node restarts, and one that hangs blocks no other.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = plain_session(connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ask(self, node: str, method: str, path: str, body: bytes = b"", *, wait: float = 0.0) -> Reply:
        """Send a request to a node of the farm. Raise UnreachableError if there is no valid answer.

        `wait` is added to the timeout, in seconds.
        """
        request = _Request(method=method, path=path, body=body, limit=self._timeout + wait)
        reply = await self._once(node, request)
        if reply.status == HTTPStatus.UNAUTHORIZED and (challenge := _refusal(reply.body).challenge):
            self._challenges[node] = challenge
            reply = await self._once(node, request)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            where = self._control.nodes[node]
            raise UnreachableError(f"{node} at {where.address} refuses the request: {_refusal(reply.body).reason}")
        return reply

    async def ask_openly(self, node: str, path: str, *, limit: float) -> bytes | None:
        """Return what anybody may read at a node, at most MAX_ANSWER bytes; None if it gives nothing within `limit`.

        Nothing proves that the answer is the node's.
        """
        where = self._control.nodes.get(node)
        if where is None:
            return None
        try:
            async with self._session.get(
                URL(f"{'https' if where.tls else 'http'}://{where.address}{path}", encoded=True),
                timeout=aiohttp.ClientTimeout(total=limit),
                allow_redirects=False,
                ssl=self._tls,
            ) as response:
                return await read_answer(response, at_most=MAX_ANSWER) if response.status == HTTPStatus.OK else None
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def _once(self, node: str, request: _Request) -> Reply:
        """Send the request once, and return an answer whose signature is right.

        A node that is not where it has been may be where it is to be after its restart.
        """
        where = self._control.nodes[node]
        try:
            return await self._at(where, node, request)
        except UnreachableError as error:
            if where.later is None or not error.may_be_tried_elsewhere:
                raise
            first = error
        try:
            return await self._at(where.later, node, request)
        except UnreachableError as error:
            raise UnreachableError(f"{first}; {error}") from error

    async def _at(self, where: ApiAddress, node: str, request: _Request) -> Reply:
        signed = self._signer.sign(
            request.method,
            request.path,
            request.body,
            to=node,
            challenge=self._challenges.get(node, ""),
            nonce=secrets.token_hex(16),
            now=self._clock(),
        )
        try:
            async with self._session.request(
                request.method,
                URL(f"{'https' if where.tls else 'http'}://{where.address}{request.path}", encoded=True),
                data=request.body,
                headers={"Authorization": signed.header},
                timeout=aiohttp.ClientTimeout(total=request.limit, sock_connect=CONNECT_TIMEOUT),
                allow_redirects=False,
                ssl=self._tls,
            ) as response:
                answer = await read_answer(response, at_most=MAX_ANSWER)
                header = response.headers.get(ANSWER_HEADER)
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            words = _in_plain_words(error, request.limit)
            unsent = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            if request.method == "POST" and not unsent:
                words += "; it may still act on the request"
            # What is read twice does no harm, and a server of TLS answers a request without TLS in its own way.
            again = unsent or request.method == "GET"
            text = f"{node} at {where.address} does not answer: {words}"
            raise UnreachableError(text, may_be_tried_elsewhere=again) from error
        if header is None and status == HTTPStatus.UNAUTHORIZED:
            reason = "it does not accept this node's signature: are the key files the same? Its log says more"
            raise UnreachableError(f"{node} at {where.address} refuses the request: {reason}")
        if why := self._signer.why_not_believed(signed, header=header, status=status, body=answer):
            raise UnreachableError(f"{node} at {where.address} is not believed: {why}")
        return Reply(status=status, body=answer)


def _refusal(answer: bytes) -> Refusal:
    try:
        return read_json(answer, Refusal)
    except JsonError:
        return Refusal(reason="in words that this version does not understand")


def _in_plain_words(error: Exception, limit: float) -> str:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {CONNECT_TIMEOUT:g} s"
        case TimeoutError():
            return f"no complete answer within {limit:g} s"
        case aiohttp.ClientSSLError():
            return f"no TLS connection: {error.os_error}"
        case OSError() if error.errno:
            return os.strerror(error.errno).lower()
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientConnectionError():
            return "it closed the connection"
        case aiohttp.ClientPayloadError():
            return "the answer is broken off or too long"
        case _:
            return "what answers there does not speak HTTP"
