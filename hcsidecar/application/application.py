"""Joins the parts of this node's application: its lifecycle, its scripts and its checks."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hcsidecar.application.checking import Checking
from hcsidecar.application.scripts import Scripts, with_home
from hcsidecar.application.service import ApplicationService, DrainEvidence, Published
from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.last_stays import Outlook
from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.runs import Place, check_environment
from hcsidecar.core.application.scripts import ScriptPlan
from hcsidecar.core.application.state import Past
from hcsidecar.core.events import Event
from hcsidecar.core.farmfile.settings import AnyCheck, InterfaceCheck, NodeTable
from hcsidecar.farmfile.dirs import state_dir
from hcsidecar.farmfile.loading import LoadedFarm


class PastStore(Protocol):
    """Keeps the application's past over a restart of the daemon."""

    def past(self, *, now: float) -> Past:
        """Return the application's past; `now` is monotonic time."""

    def remember_past(self, past: Past, *, now: float) -> None:
        """Keep this past in place of the former one."""

    async def written(self) -> None:
        """Wait until the past that was kept last is on disk."""


class Application:
    """The application of one node, with its scripts and checks. `ApplicationService` describes the callables."""

    def __init__(
        self,
        loaded: LoadedFarm,
        me: NodeTable,
        *,
        memory: PastStore,
        socket: Path,
        evidence: DrainEvidence,
        publish: Callable[[Published], None],
        tell: Callable[[Event], None],
        outlook: Callable[[tuple[str, ...]], Outlook],
    ) -> None:
        farm = loaded.farm
        place = Place(
            farm=farm.farm.name,
            node=me.name,
            config=str(loaded.path),
            socket=str(socket.absolute()),
            python=sys.executable,
            state_dir=str(state_dir(farm, me).absolute()),
        )
        checks = [_for_node(check, me) for check in farm.check]
        own = [check for check in checks if check.when == "both"]
        needs = [check for check in checks if check.when == "pre"]
        start = loaded.resolve(farm.application.start) if farm.application else loaded.path
        environment = check_environment(
            farm.application, place, start_directory=str(start.parent), base=with_home(os.environ)
        )
        directory = loaded.path.parent
        self._names_of_needs = frozenset(check.name for check in needs)
        self._own = Checking(own, report=self._take_result, directory=directory, environment=environment)
        self._needs = Checking(needs, report=self._take_result, directory=directory, environment=environment)
        self._scripts = None
        if farm.application is not None:
            self._scripts = Scripts(farm.application, config=loaded.path, place=place, tell=tell)
        loop = asyncio.get_running_loop()
        self.service = ApplicationService(
            Lifecycle(
                checks=[
                    CheckRule(name=check.name, pre=check.when == "pre", action=farm.action_of(check))
                    for check in farm.check
                ],
                lame_duck=farm.health.lame_duck,
                plan=ScriptPlan(table=farm.application),
                past=memory.past(now=loop.time()),
                last_stays=farm.farm.last_stays,
            ),
            evidence=evidence,
            publish=publish,
            tell=tell,
            remember=lambda past: memory.remember_past(past, now=loop.time()),
            written=memory.written,
            new_round=self._own.begin,
            new_need_round=self._needs.begin,
            outlook=outlook,
            scripts=self._scripts,
        )

    def begin(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Start the checks, which run when the lifecycle wants them. Return the tasks, to be cancelled at the end."""
        tidying = [] if self._scripts is None else [tasks.create_task(self._scripts.keep_tidy(), name="old logs")]
        return [
            *tidying,
            tasks.create_task(self._own.run(), name="checks"),
            tasks.create_task(self._needs.run(), name="checks of needs"),
        ]

    def take_report(self, name: str, value: str) -> str | None:
        """Take a report for a custom check, "up" or "down". Return why it is refused, or None."""
        checking = self._needs if name in self._names_of_needs else self._own
        return checking.take_report(name, value)

    def _take_result(self, name: str, complaint: str | None) -> None:
        self.service.check_result(name, complaint)


def _for_node(check: AnyCheck, me: NodeTable) -> AnyCheck:
    """Return the check with the address of its node where it names none."""
    if isinstance(check, InterfaceCheck) and check.interface is None and check.address is None:
        return check.model_copy(update={"address": me.address})
    return check
