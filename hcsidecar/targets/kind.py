"""What a kind of balancer is to the rest: a table of the farm file, and who makes the calls for one of them.

Another package adds a kind by an entry point of the group `hcsidecar.targets`: its name is the `type` in the farm
file, its object a `Kind`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hcsidecar.core.farmfile.target_tables import Target
from hcsidecar.core.targets.findings import ReviewFinding
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble

if TYPE_CHECKING:
    # All of the farm file's models take longer to load than the rest of the helper process.
    from hcsidecar.core.farmfile.settings import FarmFile

__all__ = [
    "Balancer",
    "Here",
    "Kind",
    "Observation",
    "Presence",
    "Rememberer",
    "Reviewer",
    "Target",
    "TargetError",
    "Trouble",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What a balancer's side of this node needs to know of it."""

    farm: str
    node: str
    address: str
    "The node's main address."
    addresses: Mapping[str, str]
    "The main addresses of all nodes of the farm, by name: whose targets are never touched."
    vips: tuple[str, ...] = ()
    "The virtual IPs of the farm, which are no node's own."
    health_port: int
    "Where this node's health URL is, over plain HTTP unless `health_tls`."
    health_tls: bool
    health_path: str
    directory: Path
    "That of the farm file: what relative paths are relative to."
    state_dir: Path
    "Where what must outlive the daemon may be kept, in a file named after the target."


class Balancer(Protocol):
    """One node's place at one balancer.

    Each call is one attempt, with no retry of its own, and touches no target but this node's. It raises TargetError
    with words for the operator; anything else that it raises counts as one that may be retried. It is given its limit
    by who calls, and cancelled then; calls are never made beside each other.

    All but those of `haproxy` and `command` live in the helper process, which ends when there is nothing to do: a side
    may be made anew before any call.
    """

    async def observe(self) -> Observation:
        """Look at this node's target."""

    async def register(self) -> None:
        """Register it; it may be registered already."""

    async def deregister(self) -> None:
        """Deregister it; it may be gone already."""

    async def retire(self) -> None:
        """Deregister what `Observation.former` named; called for kinds that name any."""

    async def close(self) -> None:
        """Let go of connections; called once, within a second."""


@runtime_checkable
class Rememberer(Protocol):
    """A balancer's side that knows something from one call to the next which the state directory need not have."""

    @property
    def notes(self) -> bytes:
        """What it must be told when it is made anew; read after each call that succeeds, 4,096 bytes at most."""

    def recall(self, notes: bytes) -> None:
        """Know again what it knew; called before any call."""


class Kind(Protocol):
    """A kind of balancer."""

    @property
    def table(self) -> type[Target]:
        """The model of its table in the farm file; `Target` is its base."""

    def open(self, table: Any, here: Here) -> Balancer:
        """Make the balancer's side for one table; must not wait, nor call anybody."""


@runtime_checkable
class Reviewer(Protocol):
    """A kind that can also look at a balancer's own settings, for `check-config --online`."""

    async def review(self, table: Any, farm: "FarmFile") -> Sequence[ReviewFinding]:
        """Say what is right and what is wrong there; it must change nothing, and is given a limit by who calls.

        It raises TargetError when nothing can be said at all.
        """
