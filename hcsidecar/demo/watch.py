"""Polls the daemons and HAProxy several times a second, and receives HAProxy's log."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hcsidecar.api.client import ClientError, LocalNode, NodeClient
from hcsidecar.core.documents import FarmStatus
from hcsidecar.demo.chronicle import BALANCER, Chronicle
from hcsidecar.demo.plan import DemoServer, Plan
from hcsidecar.demo.sight import ServerAtHaproxy, parse_targets

LOOK_EVERY = 0.1
"Seconds between two polls, and so the resolution of what is measured with them."
PATIENCE = 1.0
"Seconds after which a daemon or HAProxy that does not answer counts as gone."


class Watch:
    """The latest answer of each daemon and of HAProxy."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.documents: dict[str, FarmStatus | None] = {server.name: None for server in plan.servers}
        "The farm as each daemon sees it; None if it does not answer."
        self.directors: dict[str, str | None] = {}
        "The director of the virtual IP, as each daemon sees it; None if it names none."
        self.targets: dict[str, ServerAtHaproxy] = {}
        "The servers as HAProxy sees them; empty if it does not answer."

    async def run(self) -> None:
        """Poll until cancelled, each source by itself, so that one which hangs delays no other."""
        async with asyncio.TaskGroup() as looks:
            for server in self._plan.servers:
                looks.create_task(self._look_at_daemon(server))
            looks.create_task(self._look_at_balancer())

    async def _look_at_daemon(self, server: DemoServer) -> None:
        local = LocalNode(name=server.name, socket=self._plan.control_socket(server))
        client = NodeClient(server.name, via=local)
        while True:
            self.documents[server.name] = await _ask_daemon(client)
            if self._plan.vip is not None:
                self.directors[server.name] = await _ask_director(client)
            await asyncio.sleep(LOOK_EVERY)

    async def _look_at_balancer(self) -> None:
        while True:
            self.targets = parse_targets(await _ask_balancer(self._plan.stats_socket))
            await asyncio.sleep(LOOK_EVERY)


async def _ask_daemon(client: NodeClient) -> FarmStatus | None:
    try:
        async with asyncio.timeout(PATIENCE):
            return (await client.status()).document
    except (ClientError, TimeoutError):
        return None


async def _ask_director(client: NodeClient) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE):
            vips = (await client.layer_two()).document.vips
    except (ClientError, TimeoutError):
        return None
    return vips[0].director if vips else None


async def _ask_balancer(stats_socket: Path) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_unix_connection(stats_socket)
            try:
                writer.write(b"show stat\n")
                return (await reader.read(-1)).decode(errors="replace")
            finally:
                writer.close()
    except OSError:
        return ""


class _BalancerLog(asyncio.DatagramProtocol):
    def __init__(self, chronicle: Chronicle) -> None:
        self._chronicle = chronicle

    def datagram_received(self, data: bytes, _addr: object) -> None:
        self._chronicle.write(BALANCER, data.decode(errors="replace").strip(), grave=b" is DOWN" in data)


@asynccontextmanager
async def balancer_log(path: Path, chronicle: Chronicle) -> AsyncIterator[None]:
    """Receive HAProxy's log on a unix socket while the block runs."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _BalancerLog(chronicle), local_addr=str(path), family=socket.AF_UNIX
    )
    try:
        yield
    finally:
        transport.close()
