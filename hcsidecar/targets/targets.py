"""All targets of this node: the daemon's interface to `hcsidecar.targets`."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from hcsidecar.core.events import Event
from hcsidecar.core.farmfile.farm_file import FarmFile, NodeTable, Target
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Observation, TargetError, Trouble
from hcsidecar.core.targets.target_changes import is_same_place
from hcsidecar.targets.apart import HelperBalancer
from hcsidecar.targets.kind import Balancer, Here
from hcsidecar.targets.registrar import Registrar

Open = Callable[[Target, Here], Balancer]
"Returns the balancer for a target's table."


@dataclass(slots=True, eq=False)
class _Side:
    """One target: its table, its loop, and who makes its calls."""

    table: Target
    reconciler: Reconciler
    registrar: Registrar


class Targets:
    """The targets of one node, on the running loop."""

    def __init__(
        self,
        tables: Sequence[Target],
        here: Here,
        *,
        open_balancer: Open,
        chance: Random,
        tell: Callable[[Event], None],
        backoff: Callable[[Target], Backoff] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._here = here
        self._open_balancer = open_balancer
        self._chance = chance
        self._tell = tell
        self._backoff = backoff or backoff_of
        self._situation = Situation()
        self._tasks: asyncio.TaskGroup | None = None
        self._sides = [self._side(table) for table in tables]
        self._removed: list[_Side] = []
        "Those that the farm file no longer has, until the node is deregistered there."

    def _side(self, table: Target) -> _Side:
        reconciler = Reconciler(
            name=table.label,
            kind=table.type,
            policy=table.policy,
            backoff=self._backoff(table),
            chance=self._chance,
            now=self._loop.time(),
            tells_first=table.deregisters_first,
        )
        balancer, limit = self._balancer(table)
        return _Side(table, reconciler, Registrar(reconciler, balancer, limit=limit, tell=self._tell))

    def _balancer(self, table: Target) -> tuple[Balancer, float]:
        """Return the balancer of a table, and the time for a call in seconds."""
        balancer = _open(table, self._here, self._open_balancer)
        return balancer, balancer.patience if isinstance(balancer, HelperBalancer) else table.call_limit

    def reconfigure(self, tables: Sequence[Target], here: Here) -> None:
        """Take other tables. One that means a place of before is taken over; other places of before are left."""
        former, here_before = [*self._sides, *self._removed], self._here
        self._here = here
        self._sides, self._removed = [], []
        for table in tables:
            side = next((each for each in former if _means_place_of(each, table)), None)
            if side is None:
                side = self._side(table)
                side.registrar.follow(self._situation)
                self._start(side)
            else:
                former.remove(side)
                if (side.table, here_before) != (table, here):
                    self._take_over(side, table)
                side.registrar.follow(self._situation)
            self._sides.append(side)
        self._removed = [side for side in former if not side.registrar.has_ended]
        for side in self._removed:
            side.registrar.follow(replace(self._situation, removed=True))

    def _take_over(self, side: _Side, table: Target) -> None:
        side.table = table
        balancer, limit = self._balancer(table)
        side.registrar.take_over(balancer, limit=limit)
        backoff, now = self._backoff(table), self._loop.time()
        for event in side.reconciler.adjust(
            policy=table.policy, backoff=backoff, tells_first=table.deregisters_first, now=now
        ):
            self._tell(event)

    def begin(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begin to reconcile. Return the tasks, to be cancelled at the end."""
        return [tasks.create_task(self._run(), name="targets")]

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as self._tasks:
            for side in (*self._sides, *self._removed):
                self._start(side)
            await asyncio.Event().wait()

    def _start(self, side: _Side) -> None:
        if self._tasks is not None:
            self._tasks.create_task(self._follow_through(side), name="target")

    async def _follow_through(self, side: _Side) -> None:
        await side.registrar.run()
        self._removed = [each for each in self._removed if each is not side]

    def follow(self, situation: Situation) -> None:
        """Take the situation of the node, without waiting."""
        if situation == self._situation:
            return
        self._situation = situation
        for side in self._sides:
            side.registrar.follow(situation)
        for side in self._removed:
            side.registrar.follow(replace(situation, removed=True))

    @property
    def _reconcilers(self) -> list[Reconciler]:
        return [side.reconciler for side in (*self._sides, *self._removed)]

    @property
    def tells_first(self) -> bool:
        """Whether a balancer must have drained this node before the node answers NOT FOUND."""
        return any(side.table.deregisters_first and side.table.policy != "observe" for side in self._sides)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What a `leave`, or a target's removal from the farm file, must still do at balancers, as text for people."""
        return tuple(text for each in self._reconcilers if (text := each.unfinished))

    @property
    def have_let_go(self) -> bool:
        """Whether the operator's last word is `leave`, and every balancer that this node leaves has deregistered it."""
        leaving = [side.reconciler for side in self._sides if side.reconciler.is_leaving]
        return bool(leaving) and all(each.has_left for each in leaving)

    @property
    def keeps_serving_for(self) -> tuple[str, ...]:
        """Why a node that leaves must still answer OK, in words for the operator; empty if it need not."""
        now = self._loop.time()
        return tuple(text for each in self._reconcilers if (text := each.keeps_serving_for(now=now)))

    def status(self) -> tuple[TargetStatus, ...]:
        """Return, for each target, what this node should be there, what was observed, and what goes wrong.

        Of two with one name, the node leaves the former place and is to be registered at the new one.
        """
        now = self._loop.time()
        return tuple(each.status(now=now) for each in self._reconcilers)


def _means_place_of(side: _Side, table: Target) -> bool:
    return not side.registrar.has_ended and is_same_place(side.table, table)


class _Unopened:
    """Stands in for a balancer that could not be made: the node runs without it, and reports why."""

    def __init__(self, text: str) -> None:
        self._text = text

    async def observe(self) -> Observation:
        """Raise the reason. Without an observation nothing is ever changed."""
        raise TargetError(Trouble.CONFIG, self._text)

    async def register(self) -> None:
        """Is never called."""

    deregister = retire = close = register


def _open(table: Target, here: Here, open_balancer: Open) -> Balancer:
    try:
        return open_balancer(table, here)
    except Exception as error:  # noqa: BLE001 - a kind of another package's may raise whatever it likes
        return _Unopened(f"a target of type {table.type} cannot be made: {type(error).__name__}: {error}")


def backoff_of(table: Target) -> Backoff:
    """Return the times of a target."""
    return Backoff(poll=table.poll, unhealthy=table.hold_down, longest_pause=table.longest_pause)


def here(farm: FarmFile, me: NodeTable, *, directory: Path, state_directory: Path) -> Here:
    """Return what a balancer needs to know of this node; `directory` is that of the operator's farm file."""
    return Here(
        farm=farm.farm.name,
        node=me.name,
        address=me.address,
        addresses={node.name: node.address for node in farm.node},
        vips=tuple(vip.address for vip in farm.l2.vip) if farm.l2 else (),
        health_port=farm.api_address(me).port,
        health_tls=farm.web.tls is not None,
        health_path=farm.health.path,
        directory=directory,
        state_dir=state_directory,
    )
