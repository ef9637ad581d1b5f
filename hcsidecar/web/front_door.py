"""Reads the beginning of each TCP connection and answers probes from memory; the API, if any, takes everything else.

aiohttp alone would not do: it does not know the PROXY prefix, answers a probe without Host with 400 and a traceback in
the log, and lets half-open connections pile up. Probes are few kinds of tiny requests with a prepared answer, so a
state machine of its own is both stricter and quicker. A connection goes through

    prefix -> greeting -> (TLS handshake) -> requests ... -> closing
                                                 |
                                                 +-> the API, which keeps it to its end

A listener without a certificate of its own still speaks TLS with clients that begin with a TLS handshake, with the
certificate that the farm has made for this node. Probes, which do not, notice nothing of it. A listener with the
operator's certificate uses the farm's one for clients that ask for it by name: these are nodes, which are asked for
theirs. The choice is made before the handshake, because OpenSSL takes from the first context whether it asks.

Nothing here waits for anything, and nothing that arrives is logged.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import cast

from hcsidecar.core.client_hello import Incomplete, server_name
from hcsidecar.core.health import METHODS, HealthFace, Shape, Version, response
from hcsidecar.core.joining.names import SERVER_NAME
from hcsidecar.core.probers import LONGEST_FIELD, Prober
from hcsidecar.web.connections import ConnectionLimiter, close_our_half, peer_address
from hcsidecar.web.handshake import shake_hands
from hcsidecar.web.proxy_protocol import prefix_length
from hcsidecar.web.refusals import ConnectionRefusal
from hcsidecar.web.request_head import RequestHead, asked_for, read_head

_PLAIN = {"Content-Type": "text/plain; charset=us-ascii", "Cache-Control": "no-store"}
_ALLOW = {"Allow": ", ".join(METHODS)}
_STATUS_OF = {
    ConnectionRefusal.TOO_LARGE: "431 Request Header Fields Too Large",
    ConnectionRefusal.HTTP_2: "505 HTTP Version Not Supported",
    ConnectionRefusal.PIPELINED: "429 Too Many Requests",
}
"The status of every other refusal is 400."
_STRANGER = "401 Unauthorized"
"The answer to a client that asks the API without a signature."
_TLS_HANDSHAKE = b"\x16"
"The first byte of a client that speaks TLS (RFC 8446, 5.1); no HTTP request begins with it."
MOST_BESIDE = 64
"""Connections that speak TLS on a listener of plain HTTP: each takes some ten kilobytes, and few clients have a reason
to. The longest open one is ended to make room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorway:
    """What the connections of one listener have in common."""

    face: HealthFace
    connections: ConnectionLimiter
    tls: ssl.SSLContext | None = None
    "Speak TLS with every client."
    tls_beside: Callable[[], ssl.SSLContext | None] = lambda: None
    """Return the context for a client that asks for `SERVER_NAME`, and without `tls` for each that begins to speak TLS;
    None if there is none."""
    api: Callable[[], asyncio.Protocol] | None = None
    "Returns the protocol that takes whatever is not a probe; None if only health is answered."
    handshakes: set[asyncio.Task[None]] = field(default_factory=set)
    "The handshakes in progress; the listener cancels them."
    beside: dict["FrontDoor", None] = field(default_factory=dict)
    "The connections with `tls_beside`, the longest open one first."


class _Stage(Enum):
    PREFIX = auto()
    GREETING = auto()
    HANDSHAKE = auto()
    REQUESTS = auto()
    HANDED_OVER = auto()
    CLOSING = auto()


class FrontDoor(asyncio.Protocol):
    """One connection of a web listener."""

    __slots__ = (
        "_address",
        "_api",
        "_buffer",
        "_connections",
        "_doorway",
        "_idle",
        "_loop",
        "_stage",
        "_transport",
        "deadline",
    )

    def __init__(self, doorway: Doorway) -> None:
        self._doorway = doorway
        self._connections = doorway.connections
        self._loop = asyncio.get_running_loop()
        self._stage = _Stage.PREFIX
        self._buffer = b""
        self._idle = False
        "True between two requests, when nothing of the next one has come."
        self._address = ""
        self._transport: asyncio.Transport
        self._api: asyncio.Protocol | None = None
        "Takes the connection over from the first request on that is not a probe."
        self.deadline = self._loop.time() + self._connections.limits.head_timeout

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called when the connection is established."""
        self._transport = cast("asyncio.Transport", transport)
        self._address = peer_address(transport)
        self._connections.admit(self)

    def data_received(self, data: bytes) -> None:
        """Called with the bytes that have come."""
        if self._api is not None:
            self._connections.heard(self)
            self._api.data_received(data)
        elif self._stage is not _Stage.CLOSING:
            self._buffer += data
            if self._stage is _Stage.PREFIX:
                self._skip_prefix()
            if self._stage is _Stage.GREETING and self._buffer:
                self._greet()
            if self._stage is _Stage.REQUESTS:
                self._answer_requests()

    def eof_received(self) -> bool | None:
        """Let the connection close: whatever was asked has been answered already."""
        return self._api.eof_received() if self._api is not None else None

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up the connection's place."""
        if self._api is not None:
            self._api.connection_lost(exc)
        self._end()

    def pause_writing(self) -> None:
        """Give up on a client that asks without reading, once its unread answers fill the transport's buffer."""
        if self._api is not None:
            self._api.pause_writing()
        else:
            self._drop(ConnectionRefusal.READS_TOO_SLOWLY)

    def resume_writing(self) -> None:
        """Let the API write again."""
        if self._api is not None:
            self._api.resume_writing()

    def expire(self) -> None:
        """Close an idle connection; end one that is too slow."""
        if self._idle:
            self._close()
        elif self._stage is _Stage.CLOSING:
            self._transport.abort()
        else:
            self._drop(ConnectionRefusal.TOO_SLOW)

    def crowd_out(self) -> None:
        """End the connection at once."""
        self._transport.abort()
        self._end()

    def _skip_prefix(self) -> None:
        length = prefix_length(self._buffer)
        if isinstance(length, ConnectionRefusal):
            self._drop(length)
        elif length is not None:
            self._buffer = self._buffer[length:]
            self._stage = _Stage.GREETING
            tls = self._doorway.tls
            if tls is not None and self._doorway.tls_beside() is None:
                self._begin_handshake(tls)

    def _greet(self) -> None:
        """Find out from the first bytes whether a client of a listener of plain HTTP speaks TLS, else by which name."""
        if self._doorway.tls is not None:
            self._choose_certificate(self._doorway.tls)
            return
        tls = self._doorway.tls_beside() if self._buffer.startswith(_TLS_HANDSHAKE) else None
        if tls is None:
            self._stage = _Stage.REQUESTS
            return
        beside = self._doorway.beside
        if len(beside) >= MOST_BESIDE:
            self._connections.refusals[ConnectionRefusal.CROWDED_OUT] += 1
            next(iter(beside)).crowd_out()
        beside[self] = None
        self._begin_handshake(tls)

    def _choose_certificate(self, operators: ssl.SSLContext) -> None:
        farms = self._doorway.tls_beside()
        name = server_name(self._buffer)
        if not isinstance(name, Incomplete):
            self._begin_handshake(farms if farms is not None and name == SERVER_NAME else operators)

    def _begin_handshake(self, tls: ssl.SSLContext) -> None:
        self._stage = _Stage.HANDSHAKE
        self._transport.pause_reading()
        task = self._loop.create_task(self._shake_hands(tls))
        self._doorway.handshakes.add(task)
        task.add_done_callback(self._doorway.handshakes.discard)

    async def _shake_hands(self, tls: ssl.SSLContext) -> None:
        limits = self._connections.limits
        received, self._buffer = self._buffer, b""
        transport = await shake_hands(
            self._transport,
            self,
            tls,
            received=received,
            handshake_timeout=limits.head_timeout,
            shutdown_timeout=limits.close_timeout,
        )
        if self._stage is _Stage.CLOSING:
            return
        if transport is None:
            self._connections.refusals[ConnectionRefusal.TLS] += 1
            self._end()
            return
        self._transport = transport
        self._stage = _Stage.REQUESTS
        self.deadline = self._loop.time() + limits.head_timeout
        # A client may send its request together with the end of its handshake.
        self._answer_requests()

    def _answer_requests(self) -> None:
        for _ in range(self._connections.limits.pipelined):
            if not self._buffer:
                return
            head = read_head(self._buffer)
            if head is None:
                self._await_the_rest()
                return
            if isinstance(head, ConnectionRefusal):
                self._refuse(head)
                return
            self._answer(head)
            if self._stage is not _Stage.REQUESTS or self._transport.is_closing():
                return
        if self._buffer:
            self._refuse(ConnectionRefusal.PIPELINED)

    def _await_the_rest(self) -> None:
        if self._idle:
            self._idle = False
            self.deadline = self._loop.time() + self._connections.limits.head_timeout

    def _answer(self, head: RequestHead) -> None:
        face = self._doorway.face
        api = self._doorway.api
        shape = face.shape(head.method, head.path, head.version)
        if shape is Shape.PROBE:
            prober = Prober(
                address=self._address,
                method=head.method,
                path=head.path,
                host=(head.host or b"")[:LONGEST_FIELD],
                agent=head.agent[:LONGEST_FIELD],
            )
            self._send(head, face.poll(prober, head.version, keep_alive=head.keep_alive, now=self._loop.time()))
        elif shape is Shape.WRONG_METHOD:
            self._say(head, "405 Method Not Allowed", _PLAIN | _ALLOW, "METHOD NOT ALLOWED\n")
        elif api is None:
            self._say(head, "404 Not Found", _PLAIN, "UNKNOWN PATH\n")
        elif head.version is Version.HTTP_0_9:
            self._say(head, _STRANGER, {}, "")
        elif head.host is None and head.version is Version.HTTP_1_1:
            self._refuse(ConnectionRefusal.NO_HOST)
        else:
            self._hand_over(api)

    def _say(self, head: RequestHead, status: str, headers: dict[str, str], body: str) -> None:
        bodiless = head.method == "HEAD"
        answer = response(status, headers, body, head.version, keep_alive=head.keep_alive, bodiless=bodiless)
        self._send(head, answer)

    def _send(self, head: RequestHead, answer: bytes) -> None:
        self._buffer = self._buffer[head.size :]
        self._transport.write(answer)
        if not head.keep_alive:
            self._close(unread=head.has_body)
            return
        self._idle = True
        self.deadline = self._loop.time() + self._connections.limits.idle_timeout
        self._connections.heard(self)

    def _hand_over(self, make_api: Callable[[], asyncio.Protocol]) -> None:
        """Give the connection to the API, and stay in between to learn when it ends."""
        self._api = make_api()
        self._stage = _Stage.HANDED_OVER
        self._connections.hand_over(self)
        data, self._buffer = self._buffer, b""
        self._api.connection_made(self._transport)
        self._api.data_received(data)

    def _refuse(self, refusal: ConnectionRefusal) -> None:
        """Answer what is wrong with a request, and close.

        A client that asks the API without a signature is told nothing.
        """
        self._connections.refusals[refusal] += 1
        status, headers, body = _STATUS_OF.get(refusal, "400 Bad Request"), _PLAIN, f"{refusal.upper()}\n"
        if refusal is not ConnectionRefusal.HTTP_2 and self._is_for_api():
            status, headers, body = _STRANGER, {}, ""
        self._transport.write(response(status, headers, body, Version.HTTP_1_1, keep_alive=False))
        self._close(unread=True)

    def _is_for_api(self) -> bool:
        """Return whether a request that cannot be read would have gone to the API."""
        asked = asked_for(self._buffer)
        if self._doorway.api is None or asked is None:
            return False
        return self._doorway.face.shape(asked.method, asked.path, Version.HTTP_1_1) is Shape.ELSEWHERE

    def _drop(self, refusal: ConnectionRefusal) -> None:
        """End at once a connection that cannot be answered."""
        self._connections.refusals[refusal] += 1
        self._transport.abort()
        self._end()

    def _close(self, *, unread: bool = False) -> None:
        """Send what is to be sent, then close. `unread` means that the client may still be sending.

        What still comes is then discarded until the client has closed too, or its time is over.
        """
        self._stage = _Stage.CLOSING
        self._idle = False
        self._buffer = b""
        self.deadline = self._loop.time() + self._connections.limits.close_timeout
        if unread:
            close_our_half(self._transport)
        else:
            self._transport.close()

    def _end(self) -> None:
        self._stage = _Stage.CLOSING
        self._idle = False
        self._buffer = b""
        self._doorway.beside.pop(self, None)
        self._connections.forget(self)
