"""The interface of a kind of balancer: the model of its table in the farm file, and the balancer that makes the calls.

A package adds a kind with an entry point of the group `hcsidecar.targets`. Its name is the `type` in the farm file, and
its object is a `Kind`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from hcsidecar.core.farmfile.target_tables import Target
from hcsidecar.core.targets.findings import ReviewFinding
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble

if TYPE_CHECKING:
    # Loading all models of the farm file would take longer than the rest of the helper process.
    from hcsidecar.core.farmfile.farm_file import FarmFile

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
    """What a balancer needs to know of this node."""

    farm: str
    node: str
    address: str
    "The node's main address."
    addresses: Mapping[str, str]
    "The main addresses of all nodes of the farm, by name; the targets of the others are never touched."
    vips: tuple[str, ...] = ()
    "The virtual IPs of the farm, which belong to no node."
    health_port: int
    "The port of this node's health URL, which is plain HTTP unless `health_tls`."
    health_tls: bool
    health_path: str
    directory: Path
    "The directory of the operator's farm file, to which relative paths refer."
    state_dir: Path
    "The directory for a file, named after the target, with what must outlive the daemon."


class Balancer(Protocol):
    """One node at one balancer.

    Each call is one attempt, without retries, and touches only this node's target. It raises TargetError with a text
    for the operator; any other exception counts as a failure that may be retried. The caller sets the time limit and
    then cancels the call. There is never more than one call at a time.

    All but those of `haproxy` and `command` live in the helper process, which ends when there is nothing to do. So a
    balancer may be made anew before any call.
    """

    async def observe(self) -> Observation:
        """Return the state of this node's target."""

    async def register(self) -> None:
        """Register this node; it may be registered already."""

    async def deregister(self) -> None:
        """Deregister this node; it may be deregistered already."""

    async def retire(self) -> None:
        """Deregister the targets that `Observation.former` named; called only for kinds that name any."""

    async def close(self) -> None:
        """Close all connections, within a second; called once."""


@runtime_checkable
class Rememberer(Protocol):
    """A balancer that keeps knowledge between calls which need not be in the state directory."""

    @property
    def notes(self) -> bytes:
        """What a new balancer must be told, 4,096 bytes at most; read after each successful call."""

    def recall(self, notes: bytes) -> None:
        """Restore what `notes` returned; called before any call."""


class Kind(Protocol):
    """A kind of balancer."""

    @property
    def table(self) -> type[Target]:
        """The model of the kind's table in the farm file, a subclass of `Target`."""

    def open(self, table: Any, here: Here) -> Balancer:
        """Return the balancer for one table; must neither block nor call the balancer."""


@runtime_checkable
class Reviewer(Protocol):
    """A kind that can also review a balancer's own settings, for `check-config --online`."""

    async def review(self, table: Any, farm: "FarmFile") -> Sequence[ReviewFinding]:
        """Return what is right and what is wrong there. Must change nothing; the caller sets a time limit.

        Raise TargetError if nothing can be found out.
        """
