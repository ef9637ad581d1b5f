"""Runs the checks of the application: each in a task of its own, so that one that hangs delays no other."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import assert_never

import aiohttp

from hcsidecar.application.checkers import command, http, ping, process, tcp
from hcsidecar.application.checkers.custom import WORDS, CustomWatch
from hcsidecar.application.checkers.interface import InterfaceWatch
from hcsidecar.application.checkers.reasons import describe
from hcsidecar.core.application.checks import CheckDebouncer
from hcsidecar.core.farmfile.farm_file import (
    AnyCheck,
    CommandCheck,
    CustomCheck,
    HttpCheck,
    InterfaceCheck,
    PingCheck,
    ProcessCheck,
    TcpCheck,
    format_duration,
)
from hcsidecar.farmfile.places import Places
from hcsidecar.system.blocking_calls import BlockingCalls
from hcsidecar.system.programs import ProgramCommand

_Probe = Callable[[], Awaitable[str | None]]
"Makes one attempt; returns why it failed, or None. Has no time limit; may be cancelled."
_Pause = Callable[[str | None], Awaitable[None]]
"Takes the last result, and ends as soon as the next result will be another; otherwise never."


@dataclass(slots=True, eq=False)
class _Run:
    """One check from its beginning to its end in one round, or until it is changed."""

    check: AnyCheck
    debouncer: CheckDebouncer
    "What it has found; a run that follows one of the same check goes on with it."
    after: "tuple[asyncio.Task[None], ...]" = ()
    "The former runs of the check, which must have ended first, so that no two overlap."
    task: "asyncio.Task[None] | None" = None
    custom: CustomWatch | None = None


class Checking:
    """Some checks of the farm file; `report(name, complaint)` is called with the result of every attempt.

    The checks begin when `run` runs and a round has begun. Programs of checks run in the directory of the operator's
    farm file, with `environment` and HCSIDECAR_CHECK, the name of the check.
    """

    def __init__(
        self,
        checks: Iterable[AnyCheck],
        *,
        report: Callable[[str, str | None], None],
        places: Places,
        environment: Mapping[str, str],
    ) -> None:
        self._checks = {check.name: check for check in checks}
        self._report = report
        self._places = places
        self._environment = environment
        self._random = Random()  # noqa: S311 - spreads attempts, keeps no secret
        self._is_in_round = False
        self._runs: dict[str, _Run] = {}
        "The runs of the present round, by the name of the check."
        self._ending: dict[str, tuple[asyncio.Task[None], ...]] = {}
        "The tasks of runs that were ended, and may take a moment to do so."
        self._changed = asyncio.Event()
        # One for all rounds: a call that hangs since an earlier round blocks its check in the next one too.
        self._calls: dict[str, BlockingCalls] = {}

    def begin(self, number: int | None) -> None:
        """Begin a new round of all checks, or with None end them. Drop results of the former round."""
        self._is_in_round = number is not None
        former, self._runs = self._runs, {}
        for run in former.values():
            self._end(run)
        if self._is_in_round:
            for check in self._checks.values():
                self._start(check, self._debouncer(check))
        self._changed.set()

    def reconfigure(
        self,
        checks: Iterable[AnyCheck],
        *,
        begun: Collection[str],
        adjusted: Collection[str],
        places: Places,
        environment: Mapping[str, str],
    ) -> None:
        """Take other checks without disturbing those that go on.

        Those of `begun` begin anew, those of `adjusted` go on with what they have found; see `check_changes`.
        """
        self._places, self._environment = places, environment
        former, self._runs = self._runs, {}
        self._checks = {check.name: check for check in checks}
        for name, check in self._checks.items():
            run = former.pop(name, None)
            if not self._is_in_round:
                continue
            if run is None or name in begun:
                if run is not None:
                    self._end(run)
                self._start(check, self._debouncer(check, patient=True))
            elif name in adjusted:
                self._adjust(run, check)
            else:
                self._runs[name] = run
        for run in former.values():
            self._end(run)
        self._calls = {name: calls for name, calls in self._calls.items() if name in self._checks}
        self._changed.set()

    def _adjust(self, run: _Run, check: AnyCheck) -> None:
        run.debouncer.adjust(
            rise=check.rise, fall=check.fall, interval=check.interval, pending_interval=check.pending_interval
        )
        if run.custom is not None:
            # Its program goes on: it has no attempts.
            run.check, self._runs[check.name] = check, run
            run.custom.pause = check.interval
            return
        # The pause before the next attempt may be a long one of before, so that attempt is made at once.
        self._end(run)
        self._start(check, run.debouncer)

    def _start(self, check: AnyCheck, debouncer: CheckDebouncer) -> None:
        ending = self._ending.pop(check.name, ())
        self._runs[check.name] = _Run(check, debouncer, after=tuple(task for task in ending if not task.done()))

    def _end(self, run: _Run) -> None:
        tasks = run.after
        if run.task is not None:
            run.task.cancel()
            tasks = (*tasks, run.task)
        self._ending[run.check.name] = tasks

    def _debouncer(self, check: AnyCheck, *, patient: bool = False) -> CheckDebouncer:
        return CheckDebouncer(
            rise=check.rise,
            fall=check.fall,
            interval=check.interval,
            pending_interval=check.pending_interval,
            uniform=self._random.uniform,
            patient=patient,
        )

    def take_report(self, name: str, value: str) -> str | None:
        """Take a report for a custom check, `up` or `down`. Return why it is refused, or None."""
        customs = [check.name for check in self._checks.values() if isinstance(check, CustomCheck)]
        if name not in customs:
            there = f"there is {', '.join(customs)}" if customs else "there is none"
            return f"{name} is no custom check: {there}"
        if value not in WORDS:
            return f"a check is {' or '.join(WORDS)}, not {value}"
        run = self._runs.get(name)
        if run is None or run.custom is None:
            return f"check {name} does not run now"
        refusal = run.custom.why_not_heard()
        if refusal is None:
            run.custom.hear(value)
        return refusal

    async def run(self) -> None:
        """Run the rounds until cancelled."""
        async with http.open_session() as session, asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                for run in self._runs.values():
                    if run.task is None:
                        run.task = group.create_task(self._keep_checking(run, session))
                await self._changed.wait()

    async def _keep_checking(self, run: _Run, session: aiohttp.ClientSession) -> None:
        if run.after:
            await asyncio.wait(run.after)
            run.after = ()
        check = run.check
        calls = self._calls.setdefault(check.name, BlockingCalls("check"))
        match check:
            case TcpCheck():
                await self._keep_trying(run, partial(tcp.probe, check))
            case HttpCheck():
                await self._keep_trying(run, http.HttpProbe(check, session, calls).probe)
            case PingCheck():
                await self._keep_trying(run, partial(ping.probe, check))
            case InterfaceCheck():
                async with InterfaceWatch(check) as watch:
                    await self._keep_trying(run, watch.probe, watch.until_other_than)
            case ProcessCheck():
                await self._keep_trying(run, partial(process.probe, check, calls))
            case CommandCheck():
                await self._keep_trying(run, lambda: command.probe(self._command(check)))
            case CustomCheck():
                run.custom = CustomWatch(
                    check.name,
                    lambda: self._command(check),
                    pause=check.interval,
                    tell=partial(self._tell, run),
                )
                await run.custom.run()
            case _:
                assert_never(check)

    def _command(self, check: CommandCheck | CustomCheck) -> ProgramCommand:
        """Return the command with the present places and environment, which other runs of the program may not have."""
        program, *arguments = check.command
        return ProgramCommand(
            words=(str(self._places.program(program)), *arguments),
            directory=self._places.working_directory("."),
            environment={**self._environment, "HCSIDECAR_CHECK": check.name},
        )

    def _tell(self, run: _Run, complaint: str | None) -> None:
        """Report a result, unless the run was given up."""
        if self._runs.get(run.check.name) is run:
            self._report(run.check.name, complaint)

    async def _keep_trying(self, run: _Run, probe: _Probe, until_other_than: _Pause | None = None) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            failure = await _attempt(run.check, probe)
            self._tell(run, run.debouncer.attempted(failure))
            due = run.debouncer.next_attempt_at(began=began, now=loop.time())
            if until_other_than is None:
                await asyncio.sleep(due - loop.time())
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await until_other_than(failure)


async def _attempt(check: AnyCheck, probe: _Probe) -> str | None:
    """Make one attempt within the check's time limit. A lack of threads or descriptors is a failure like any other."""
    try:
        async with asyncio.timeout(check.timeout):
            return await probe()
    except TimeoutError:
        return f"no answer within {format_duration(check.timeout)}"
    except OSError as error:
        return describe(error)
