"""This node in a backend of HAProxy, through its runtime API, with one line of commands per connection."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from hcsidecar.core.farmfile.target_tables import HaproxyTarget
from hcsidecar.core.targets.haproxy import (
    observation_of,
    to_deregister,
    to_register,
    why_not_deregistered,
    why_not_registered,
)
from hcsidecar.core.targets.haproxy_answers import HaproxyProcess, HaproxyServer, ServerAddress, process_in, server_in
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble
from hcsidecar.targets.kind import Here

_ROOM: Final = 65536
_MOST: Final = 4_194_304
"Bytes of an answer; enough for a backend with more than 4,000 servers."


class Haproxy:
    """One node in one backend."""

    def __init__(self, table: HaproxyTarget, here: Here) -> None:
        self._table = table
        self._place = place_of(table, here)
        self._process: HaproxyProcess | None = None
        "The HAProxy process of the last observation."
        self._left_held = False
        "Deregistered while an operator of HAProxy keeps the server in maintenance: it is out, and left as it is."

    async def observe(self) -> Observation:
        """Return the state of this node's server."""
        server, answer = await self._run([])
        former, self._process = self._process, process_in(answer) or self._process
        if self._left_held and server is not None and server.is_held:
            reason = "in maintenance at HAProxy, and left alone there"
            return Observation(presence=Presence.ABSENT, reason=reason)
        followed = former is not None and self._process is not None and self._process.has_followed(former)
        return replace(observation_of(server, self._place), forgot=followed)

    async def register(self) -> None:
        """Add the server at this node's address, or make the existing one ready."""
        self._left_held = False
        server, _ = await self._run([])
        commands = to_register(server, self._place)
        if commands:
            server, answer = await self._run(commands)
            refused = why_not_registered(server, answer, self._place)
            if refused is not None:
                raise refused

    async def deregister(self) -> None:
        """Delete the server if it has no sessions, otherwise drain it."""
        server, _ = await self._run([])
        self._left_held = server is not None and server.is_held
        commands = to_deregister(server, self._place)
        if commands:
            server, answer = await self._run(commands)
            refused = why_not_deregistered(server, answer, self._place)
            if refused is not None:
                raise refused

    async def retire(self) -> None:
        """Delete the former server if it is drained, or drain it if it has another address than this node."""
        await self.deregister()

    async def close(self) -> None:
        """Do nothing: no connection outlives a call."""

    async def _run(self, commands: Sequence[str]) -> tuple[HaproxyServer | None, str]:
        """Run commands, and return the state of the server after them, with everything that HAProxy answered."""
        answer = await self._ask("; ".join([*commands, self._place.look]))
        return server_in(answer, self._place), answer

    async def _ask(self, line: str) -> str:
        where = self._table.socket or str(self._table.address)
        try:
            reader, writer = await self._connect()
        except OSError as error:
            raise _not_connected(where, error) from None
        try:
            writer.write(line.encode() + b"\n")
            answer = bytearray()
            while data := await reader.read(_ROOM):
                answer += data
                if len(answer) > _MOST:
                    raise TargetError(Trouble.RETRY, f"what answers at {where} does not come to an end")
        except OSError as error:
            raise TargetError(Trouble.RETRY, f"the connection to {where} broke: {_words(error)}") from None
        finally:
            writer.close()
        return answer.decode(errors="replace")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._table.address is not None:
            return await asyncio.open_connection(self._table.address.host, self._table.address.port)
        return await asyncio.open_unix_connection(self._table.socket)


class HaproxyKind:
    """The kind `haproxy`."""

    table = HaproxyTarget

    def open(self, table: HaproxyTarget, here: Here) -> Haproxy:
        """Return the balancer for one table."""
        return Haproxy(table, here)


KIND = HaproxyKind()


def place_of(table: HaproxyTarget, here: Here) -> ServerAddress:
    """Return the address that this node is to have at HAProxy."""
    own_check = f"check port {here.health_port}" + (" check-ssl verify none" if here.health_tls else "")
    dynamic = table.servers == "dynamic"
    return ServerAddress(
        backend=table.backend,
        server=table.server or here.node,
        address=here.address,
        port=table.port or 0,
        options=own_check if table.options is None else table.options,
        check_port=here.health_port if dynamic and table.options is None else None,
        dynamic=dynamic,
    )


def _not_connected(where: str, error: OSError) -> TargetError:
    if isinstance(error, PermissionError):
        text = f"may not open {where}: give its group or user in HAProxy's line `stats socket`"
        return TargetError(Trouble.AUTH, text)
    if isinstance(error, FileNotFoundError):
        return TargetError(
            Trouble.RETRY, f"there is no socket {where}: does HAProxy run, with a line `stats socket {where}`?"
        )
    return TargetError(Trouble.RETRY, f"no connection to {where}: {_words(error)}; does HAProxy run, and listen there?")


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
