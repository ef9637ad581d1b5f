"""All targets of this node: the daemon's interface to `hcsidecar.targets`."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from hcsidecar.core.events import Event
from hcsidecar.core.farmfile.settings import FarmFile, NodeTable, Target
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.documents import TargetStatus
from hcsidecar.core.targets.reconcile import Reconciler
from hcsidecar.core.targets.registration import Observation, TargetError, Trouble
from hcsidecar.targets.apart import HelperBalancer
from hcsidecar.targets.kind import Balancer, Here
from hcsidecar.targets.registrar import Registrar

Open = Callable[[Target, Here], Balancer]
"Returns the balancer for a target's table."


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
        pace: Callable[[Target], Backoff] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._situation = Situation()
        self.tells_first = any(table.deregisters_first and table.policy != "observe" for table in tables)
        "Whether a balancer must have drained this node before the node answers NOT FOUND."
        self._reconcilers: list[Reconciler] = []
        self._registrars: list[Registrar] = []
        for table in tables:
            reconciler = Reconciler(
                name=table.label,
                kind=table.type,
                policy=table.policy,
                pace=(pace or pace_of)(table),
                chance=chance,
                now=self._loop.time(),
                tells_first=table.deregisters_first,
            )
            self._reconcilers.append(reconciler)
            balancer = _open(table, here, open_balancer)
            limit = balancer.patience if isinstance(balancer, HelperBalancer) else table.call_limit
            self._registrars.append(Registrar(reconciler, balancer, limit=limit, tell=tell))

    def begin(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Begin to reconcile. Return the tasks, to be cancelled at the end."""
        return [tasks.create_task(registrar.run(), name="target") for registrar in self._registrars]

    def follow(self, situation: Situation) -> None:
        """Take the situation of the node, without waiting."""
        if situation == self._situation:
            return
        self._situation = situation
        for registrar in self._registrars:
            registrar.follow(situation)

    @property
    def unfinished(self) -> tuple[str, ...]:
        """What a `leave` must still do at balancers, in words for the operator."""
        return tuple(text for each in self._reconcilers if (text := each.unfinished))

    @property
    def have_let_go(self) -> bool:
        """Whether the operator's last word is `leave`, and every balancer that this node leaves has deregistered it."""
        leaving = [each for each in self._reconcilers if each.is_leaving]
        return bool(leaving) and all(each.has_left for each in leaving)

    @property
    def keeps_serving_for(self) -> tuple[str, ...]:
        """Why a node that leaves must still answer OK, in words for the operator; empty if it need not."""
        now = self._loop.time()
        return tuple(text for each in self._reconcilers if (text := each.keeps_serving_for(now=now)))

    def status(self) -> tuple[TargetStatus, ...]:
        """Return, for each target, what this node should be there, what was observed, and what goes wrong."""
        now = self._loop.time()
        return tuple(each.status(now=now) for each in self._reconcilers)


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


def pace_of(table: Target) -> Backoff:
    """Return the times of a target."""
    return Backoff(poll=table.poll, unhealthy=table.hold_down, longest_pause=table.longest_pause)


def here(farm: FarmFile, me: NodeTable, *, directory: Path, state_directory: Path) -> Here:
    """Return what a balancer needs to know of this node; `directory` is that of the farm file."""
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
