"""Joins the parts of this node's application: its lifecycle, its scripts and its checks."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

from hcsidecar.application.checking import Checking
from hcsidecar.application.scripts import Scripts, with_home
from hcsidecar.application.service import ApplicationService, DrainEvidence, Published
from hcsidecar.core.application.check_changes import check_changes
from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.last_stays import Outlook
from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.runs import Place, check_environment
from hcsidecar.core.application.scripts import ScriptPlan
from hcsidecar.core.application.state import Past
from hcsidecar.core.events import Event
from hcsidecar.core.farmfile.farm_file import AnyCheck, FarmFile, InterfaceCheck, NodeTable
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
        self._place = Place(
            farm=farm.farm.name,
            node=me.name,
            config=str(loaded.working_copy),
            socket=str(socket.absolute()),
            python=sys.executable,
            state_dir=str(state_dir(farm, me).absolute()),
        )
        self._checks = [_for_node(check, me) for check in farm.check]
        places, environment = loaded.places, self._check_environment(loaded)
        self._own = Checking(
            _of_application(self._checks), report=self._take_result, places=places, environment=environment
        )
        self._needs = Checking(
            _of_needs(self._checks), report=self._take_result, places=places, environment=environment
        )
        self._scripts = None
        if farm.application is not None:
            self._scripts = Scripts(farm.application, places=places, place=self._place, tell=tell)
        loop = asyncio.get_running_loop()
        self.service = ApplicationService(
            Lifecycle(
                checks=_rules(farm),
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

    def reconfigure(self, loaded: LoadedFarm, me: NodeTable) -> None:
        """Take a changed farm file, with or without [application] as before; what has not changed is not disturbed."""
        farm = loaded.farm
        checks = [_for_node(check, me) for check in farm.check]
        changes = check_changes(self._checks, checks)
        self._checks = checks
        places, environment = loaded.places, self._check_environment(loaded)
        for checking, its in ((self._own, _of_application(checks)), (self._needs, _of_needs(checks))):
            checking.reconfigure(
                its, begun=changes.begun, adjusted=changes.adjusted, places=places, environment=environment
            )
        if self._scripts is not None and farm.application is not None:
            self._scripts.reconfigure(farm.application, places)
        self.service.reconfigure(
            checks=_rules(farm),
            begun=changes.begun,
            lame_duck=farm.health.lame_duck,
            plan=ScriptPlan(table=farm.application),
            last_stays=farm.farm.last_stays,
        )

    def _check_environment(self, loaded: LoadedFarm) -> Mapping[str, str]:
        table = loaded.farm.application
        start = loaded.places.program(table.start) if table else loaded.working_copy
        return check_environment(table, self._place, start_directory=str(start.parent), base=with_home(os.environ))

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
        checking = self._needs if name in {check.name for check in _of_needs(self._checks)} else self._own
        return checking.take_report(name, value)

    def _take_result(self, name: str, complaint: str | None) -> None:
        self.service.check_result(name, complaint)


def _of_application(checks: Iterable[AnyCheck]) -> list[AnyCheck]:
    return [check for check in checks if check.when == "both"]


def _of_needs(checks: Iterable[AnyCheck]) -> list[AnyCheck]:
    return [check for check in checks if check.when == "pre"]


def _rules(farm: FarmFile) -> list[CheckRule]:
    return [CheckRule(name=check.name, pre=check.when == "pre", action=farm.action_of(check)) for check in farm.check]


def _for_node(check: AnyCheck, me: NodeTable) -> AnyCheck:
    """Return the check with the address of its node where it names none."""
    if isinstance(check, InterfaceCheck) and check.interface is None and check.address is None:
        return check.model_copy(update={"address": me.address})
    return check
