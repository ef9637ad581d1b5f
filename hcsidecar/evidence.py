"""Who still uses this node's module, or needs it: what its drain and its parting wait for."""

from collections.abc import Iterable, Mapping

from hcsidecar.app.connections import Connections
from hcsidecar.core.health import HealthFace
from hcsidecar.own_targets import OwnTargets


class Evidence:
    """Its connections, as the kernel counts them, the probers of the health URL, and its balancers."""

    def __init__(self, connections: Connections, face: HealthFace, fall: int, targets: OwnTargets) -> None:
        self._connections = connections
        self._face = face
        self._fall = fall
        self._targets = targets

    async def connections(self) -> Mapping[int, int] | None:
        """Count the connections to the checked ports."""
        return await self._connections.count()

    def probers(self, *, now: float) -> Iterable[str]:
        """Describe the probers that have not had their fill."""
        return self._face.probers.waiting(self._fall, now=now, let_go=self._targets.have_let_go)

    def balancers(self) -> Iterable[str]:
        """Say why a module that is parting must still take traffic."""
        return self._targets.keeps_serving_for
