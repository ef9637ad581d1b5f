"""Listens for probes: the front door on any number of addresses, and HAProxy's agent-check."""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable

from hcsidecar.core.farmfile.values import is_ipv6
from hcsidecar.core.health import HealthFace
from hcsidecar.core.passing_errors import why_not_bound
from hcsidecar.web.accepting import Admission, ListeningSocket
from hcsidecar.web.agent_check import AgentCheck
from hcsidecar.web.connections import ConnectionLimiter, Limits
from hcsidecar.web.front_door import Doorway, FrontDoor

_BACKLOG = 128
"Connections that wait to be accepted; also the most accepted at once, beyond what the limits allow."


class ListenError(Exception):
    """An address on which nobody can listen now; `passing` is True if that may end by itself."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        reason, self.passing = why_not_bound(error)
        super().__init__(f"cannot listen on {where}: {reason}")
        self.host = host
        self.port = port


class HealthServer:
    """The listeners of one daemon. All share one face and one set of limits.

    `admission`, if it is set, lets connections in when descriptors are scarce.
    """

    def __init__(self, face: HealthFace, *, limits: Limits | None = None) -> None:
        self._face = face
        self._servers: list[asyncio.Server] = []
        self._handshakes: set[asyncio.Task[None]] = set()
        self.connections = ConnectionLimiter(limits)
        self.admission: Admission | None = None

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each listening socket, in the order in which they were asked for."""
        names = [listening.getsockname() for server in self._servers for listening in server.sockets]
        return tuple((name[0], name[1]) for name in names)

    async def start(
        self,
        listen: tuple[tuple[str, int], ...],
        *,
        tls: ssl.SSLContext | None = None,
        tls_beside: Callable[[], ssl.SSLContext | None] = lambda: None,
        api: Callable[[], asyncio.Protocol] | None = None,
    ) -> None:
        """Answer probes on these addresses, and hand other requests over to what `api` returns, if there is an API.

        With `tls` every client must speak TLS; with `tls_beside` a client may. This may be called several times. Raise
        ListenError with the first address that cannot be used; then no address of this call is listened on. An IPv6
        wildcard takes IPv6 only.
        """
        doorway = Doorway(
            face=self._face,
            connections=self.connections,
            tls=tls,
            tls_beside=tls_beside,
            api=api,
            handshakes=self._handshakes,
        )
        await self._listen(lambda: FrontDoor(doorway), listen)

    async def start_agent(self, listen: tuple[str, int]) -> None:
        """Answer HAProxy's agent-check. Raise ListenError if the address cannot be used."""
        await self._listen(lambda: AgentCheck(self._face, self.connections), (listen,))

    async def close(self) -> None:
        """Stop listening and end every connection; safe to repeat."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        for handshake in self._handshakes:
            handshake.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        self.connections.end_all()
        for server in servers:
            await server.wait_closed()

    async def _listen(
        self, make_connection: Callable[[], asyncio.Protocol], addresses: tuple[tuple[str, int], ...]
    ) -> None:
        opened: list[asyncio.Server] = []
        for host, port in addresses:
            try:
                opened.append(await self._listen_on(make_connection, host, port))
            except OSError as error:
                for server in opened:
                    server.close()
                raise ListenError(host, port, error) from error
        self._servers += opened

    async def _listen_on(self, make_connection: Callable[[], asyncio.Protocol], host: str, port: int) -> asyncio.Server:
        listener = ListeningSocket(socket.AF_INET6 if is_ipv6(host) else socket.AF_INET, socket.SOCK_STREAM)
        listener.admission = self.admission
        try:
            if os.name == "posix":
                # On Windows this option would let two processes have one port.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if listener.family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, port))
            loop = asyncio.get_running_loop()
            return await loop.create_server(make_connection, sock=listener, backlog=_BACKLOG)
        except BaseException:
            listener.close()
            raise
