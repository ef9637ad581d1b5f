"""Who still uses this node's application, or needs it: what its drain and its parting wait for."""

from collections.abc import Callable, Iterable, Mapping

from hcsidecar.application.connections import ConnectionCounter
from hcsidecar.core.health import HealthFace
from hcsidecar.daemon.own_targets import OwnTargets


class NodeDrainEvidence:
    """Its connections, as the kernel counts them, the probers of the health URL, its balancers, and the other nodes.

    `is_sent_clients` tells whether the others may still send new clients of the virtual IPs to this node.
    """

    def __init__(
        self,
        connections: ConnectionCounter,
        face: HealthFace,
        fall: int,
        targets: OwnTargets,
        is_sent_clients: Callable[[], bool],
    ) -> None:
        self._connections = connections
        self._face = face
        self._fall = fall
        self._targets = targets
        self._is_sent_clients = is_sent_clients

    async def connections(self) -> Mapping[int, int] | None:
        """Count the connections to the checked ports."""
        return await self._connections.count()

    def probers(self, *, now: float) -> Iterable[str]:
        """Describe the probers that have not had their fill, and the other nodes while they send clients."""
        others = ("the other nodes to take over new clients",) if self._is_sent_clients() else ()
        return (*others, *self._probers(now))

    def _probers(self, now: float) -> Iterable[str]:
        return self._face.probers.waiting(self._fall, now=now, let_go=self._targets.have_let_go)

    def balancers(self) -> Iterable[str]:
        """Say why an application that is parting must still take traffic."""
        return self._targets.keeps_serving_for
