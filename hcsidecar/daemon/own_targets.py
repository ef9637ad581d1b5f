"""The daemon's interface to its targets. Without a [[target]] in the farm file it imports nothing for them."""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING

from hcsidecar.core.events import Event
from hcsidecar.core.farmfile.farm_file import CommandTarget, NodeTable, Target
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.farmfile.dirs import state_dir
from hcsidecar.farmfile.loading import LoadedFarm
from hcsidecar.farmfile.places import Places

if TYPE_CHECKING:
    from hcsidecar.targets.apart import BalancerFactory
    from hcsidecar.targets.targets import Targets


class OwnTargets:
    """The targets of this node, perhaps none. All methods answer from memory, without waiting."""

    def __init__(self, loaded: LoadedFarm, me: NodeTable, *, tell: Callable[[Event], None]) -> None:
        """Needs a running loop."""
        self._tell = tell
        self._situation = Situation()
        self._tasks: asyncio.TaskGroup | None = None
        self._targets: Targets | None = None
        self._factory: BalancerFactory | None = None
        self.reconfigure(loaded, me)

    async def prepare(self, loaded: LoadedFarm) -> None:
        """Load the modules that the targets of a farm file need, in a thread: `reconfigure` must not wait for that."""
        if loaded.farm.target and self._targets is None:
            await asyncio.to_thread(importlib.import_module, "hcsidecar.targets.apart")
            await asyncio.to_thread(importlib.import_module, "hcsidecar.targets.targets")

    def reconfigure(self, loaded: LoadedFarm, me: NodeTable) -> None:
        """Take the targets of a farm file; see `Targets.reconfigure`."""
        if not loaded.farm.target and self._targets is None:
            return
        from hcsidecar.targets.apart import BalancerFactory  # noqa: PLC0415 - see the module's docstring
        from hcsidecar.targets.targets import Targets, here  # noqa: PLC0415

        raw = {target.label: table for target, table in zip(loaded.farm.target, loaded.target_tables, strict=True)}
        tables = [_with_its_program(target, loaded.places) for target in loaded.farm.target]
        directory = loaded.places.machine
        place = here(loaded.farm, me, directory=directory, state_directory=state_dir(loaded.farm, me))
        if self._targets is not None and self._factory is not None:
            self._factory.tables = raw
            self._targets.reconfigure(tables, place)
            return
        self._factory = BalancerFactory(f"{loaded.farm.farm.name}/{me.name}", raw)
        self._targets = Targets(tables, place, open_balancer=self._factory.open, chance=SystemRandom(), tell=self._tell)
        self._targets.follow(self._situation)
        if self._tasks is not None:
            self._targets.begin(self._tasks)

    def begin(self, tasks: asyncio.TaskGroup) -> Sequence[asyncio.Task[None]]:
        """Begin to reconcile. Return the tasks, to be cancelled at the end."""
        return [tasks.create_task(self._run(), name="targets")]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            if self._targets is not None:
                self._targets.begin(self._tasks)
            await asyncio.Event().wait()

    def follow(self, situation: Situation) -> None:
        """Take the situation of the node."""
        self._situation = situation
        if self._targets is not None:
            self._targets.follow(situation)

    def status(self) -> Sequence[TargetStatus]:
        """Return the state of each target."""
        return () if self._targets is None else self._targets.status()

    @property
    def tells_first(self) -> bool:
        """Whether a balancer must have drained this node before the node answers NOT FOUND."""
        return self._targets is not None and self._targets.tells_first

    @property
    def have_let_go(self) -> bool:
        """Whether the operator's last word is `leave`, and every balancer has deregistered this node."""
        return self._targets is not None and self._targets.have_let_go

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What must still be done at balancers, as text for people."""
        return () if self._targets is None else self._targets.unfinished

    @property
    def keeps_serving_for(self) -> tuple[str, ...]:
        """Why a node that leaves must still answer OK, as text for people."""
        return () if self._targets is None else self._targets.keeps_serving_for


def _with_its_program(target: Target, places: Places) -> Target:
    """Return the table with the path of its program, if it has one: a revision has programs of its own."""
    if not isinstance(target, CommandTarget):
        return target
    program, *arguments = target.command
    return target.model_copy(update={"command": (str(places.program(program)), *arguments)})
