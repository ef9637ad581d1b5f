"""The evidence that a drain or a parting waits for: who still uses this node's application, or needs it."""

from collections.abc import Callable, Iterable, Mapping

from hcsidecar.application.connections import ConnectionCounter
from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.health import HealthFace
from hcsidecar.daemon.own_targets import OwnTargets


class NodeDrainEvidence:
    """The connections that the kernel counts, the probers of the health URL, the balancers and the other nodes.

    `is_sent_clients` returns whether the others may still send new clients of the virtual IPs to this node.
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

    def reconfigure(self, farm: FarmFile) -> None:
        """Look at the ports of a changed farm file, with its `prober_fall`, from the next look on."""
        self._connections.reconfigure(farm.check, farm.l2)
        self._fall = farm.health.prober_fall

    async def connections(self) -> Mapping[int, int] | None:
        """Count the connections to the checked ports."""
        return await self._connections.count()

    def probers(self, *, now: float) -> Iterable[str]:
        """Yield the probers that have not had `prober_fall` answers of NOT FOUND, and the nodes that send clients."""
        others = ("the other nodes to take over new clients",) if self._is_sent_clients() else ()
        return (*others, *self._probers(now))

    def _probers(self, now: float) -> Iterable[str]:
        return self._face.probers.waiting(self._fall, now=now, let_go=self._targets.have_let_go)

    def balancers(self) -> Iterable[str]:
        """Return why an application that is parting must still take traffic."""
        return self._targets.keeps_serving_for
