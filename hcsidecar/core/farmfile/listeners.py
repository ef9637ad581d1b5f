"""On which addresses and ports a node listens by a farm file, and which of them are new in another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable
from hcsidecar.core.farmfile.problems import path_of
from hcsidecar.core.farmfile.values import HostPort


class Transport(StrEnum):
    """What is listened for."""

    TCP = "TCP"
    UDP = "UDP"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeListener:
    """One socket of a node."""

    path: str
    "The key of the farm file that asks for it."
    transport: Transport
    endpoint: HostPort

    def overlaps(self, other: "NodeListener") -> bool:
        """Return whether two of one machine would need the same socket."""
        return self.transport is other.transport and self.endpoint.overlaps(other.endpoint)


def listeners_of(farm: FarmFile, node: NodeTable) -> tuple[NodeListener, ...]:
    """Return the sockets of a node of this farm, by its whole farm file."""
    web = path_of(("node", farm.node.index(node), "listen")) if node.listen else "web.listen"
    agent = () if farm.health.agent_check is None else (farm.health.agent_check,)
    heartbeats = tuple(HostPort(address, farm.heartbeat.port) for address in node.addresses.values())
    wanted = (
        (web, Transport.TCP, farm.web_listen(node)),
        ("health.listen", Transport.TCP, farm.health.listen),
        ("health.agent_check", Transport.TCP, agent),
        ("heartbeat.port", Transport.UDP, heartbeats),
    )
    return tuple(
        NodeListener(path=path, transport=transport, endpoint=endpoint)
        for path, transport, endpoints in wanted
        for endpoint in endpoints
    )


def new_listeners(farm: FarmFile, name: str, running: Sequence[FarmFile]) -> tuple[NodeListener, ...]:
    """Return the sockets that node `name` would have to open with a farm file.

    `running` are those by which its daemon goes now: what it has itself, it cannot try.
    """
    present = [listener for each in running for listener in listeners_of(each, each.node_named(name))]
    return tuple(
        listener
        for listener in listeners_of(farm, farm.node_named(name))
        if not any(listener.overlaps(other) for other in present)
    )
