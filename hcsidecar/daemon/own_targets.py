"""The daemon's interface to its targets. Without a [[target]] in the farm file it imports nothing for them."""

from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, TypeAlias

from hcsidecar.core.events import Event
from hcsidecar.core.farmfile.settings import NodeTable
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.farmfile.dirs import state_dir
from hcsidecar.farmfile.loading import LoadedFarm

if TYPE_CHECKING:
    import asyncio

    from hcsidecar.targets.targets import Targets


OwnTargets: TypeAlias = "Targets | NoTargets"
"All methods answer from memory, without waiting."


class NoTargets:
    """Stands in for `Targets` on a node without a [[target]]."""

    tells_first = have_let_go = False
    unfinished: tuple[str, ...] = ()
    keeps_serving_for: tuple[str, ...] = ()

    def begin(self, tasks: "asyncio.TaskGroup") -> "Sequence[asyncio.Task[None]]":  # noqa: ARG002 - for none
        """Return no tasks."""
        return ()

    def follow(self, situation: Situation) -> None:
        """Do nothing."""

    def status(self) -> Sequence[TargetStatus]:
        """Return no targets."""
        return ()


def own_targets(loaded: LoadedFarm, me: NodeTable, *, tell: Callable[[Event], None]) -> OwnTargets:
    """Return the targets of this node. Needs a running loop."""
    if not loaded.farm.target:
        return NoTargets()
    from hcsidecar.targets.apart import BalancerFactory  # noqa: PLC0415 - see the module's docstring
    from hcsidecar.targets.targets import Targets, here  # noqa: PLC0415

    tables = {target.label: table for target, table in zip(loaded.farm.target, loaded.target_tables, strict=True)}
    return Targets(
        loaded.farm.target,
        here(loaded.farm, me, directory=loaded.path.parent, state_directory=state_dir(loaded.farm, me)),
        open_balancer=BalancerFactory(f"{loaded.farm.farm.name}/{me.name}", tables).open,
        chance=SystemRandom(),
        tell=tell,
    )
