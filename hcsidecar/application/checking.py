"""Runs the checks of the application: each in a task of its own, so that one that hangs delays no other."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from typing import assert_never

import aiohttp

from hcsidecar.application.checkers import command, http, ping, process, tcp
from hcsidecar.application.checkers.custom import WORDS, CustomWatch
from hcsidecar.application.checkers.interface import InterfaceWatch
from hcsidecar.application.checkers.reasons import describe
from hcsidecar.core.application.checks import CheckFilter
from hcsidecar.core.farmfile.settings import (
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
from hcsidecar.system.blocking_calls import BlockingCalls
from hcsidecar.system.programs import ProgramCommand

_Probe = Callable[[], Awaitable[str | None]]
"Makes one attempt; returns why it failed, or None. Has no time limit; may be cancelled."
_Pause = Callable[[str | None], Awaitable[None]]
"Takes the last result, and ends as soon as the next result will be another; otherwise never."


class Checking:
    """Some checks of the farm file; `report(name, complaint)` is called with the result of every attempt.

    The checks begin when `run` runs and a round has begun. Programs of checks run in `directory`, that of the farm
    file, with `environment` and HCSIDECAR_CHECK, the name of the check.
    """

    def __init__(
        self,
        checks: Iterable[AnyCheck],
        *,
        report: Callable[[str, str | None], None],
        directory: Path,
        environment: Mapping[str, str],
    ) -> None:
        self._checks = tuple(checks)
        self._report = report
        self._directory = directory.absolute()
        self._environment = environment
        self._random = Random()  # noqa: S311 - spreads attempts, keeps no secret
        self._round: int | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._new_round = asyncio.Event()
        # One for all rounds: a call that hangs since an earlier round blocks its check in the next one too.
        self._calls = {check.name: BlockingCalls("check") for check in self._checks}
        self._customs: dict[str, CustomWatch] = {}
        "The custom checks of the present round."

    def begin(self, number: int | None) -> None:
        """Begin a new round of all checks, or with None end them. Drop results of the former round."""
        self._round = number
        self._customs = {}
        for task in self._tasks:
            task.cancel()
        self._new_round.set()

    def take_report(self, name: str, value: str) -> str | None:
        """Take a report for a custom check, `up` or `down`. Return why it is refused, or None."""
        customs = [check.name for check in self._checks if isinstance(check, CustomCheck)]
        if name not in customs:
            there = f"there is {', '.join(customs)}" if customs else "there is none"
            return f"{name} is no custom check: {there}"
        if value not in WORDS:
            return f"a check is {' or '.join(WORDS)}, not {value}"
        watch = self._customs.get(name)
        if watch is None:
            return f"check {name} does not run now"
        refusal = watch.why_not_heard()
        if refusal is None:
            watch.hear(value)
        return refusal

    async def run(self) -> None:
        """Run the rounds until cancelled."""
        async with http.open_session() as session:
            while True:
                self._new_round.clear()
                if self._round is not None:
                    await self._run_round(session)
                await self._new_round.wait()

    async def _run_round(self, session: aiohttp.ClientSession) -> None:
        """Run one round to its end, so that its checks do not overlap those of the next."""
        async with asyncio.TaskGroup() as group:
            self._tasks = [group.create_task(self._keep_checking(check, session)) for check in self._checks]

    async def _keep_checking(self, check: AnyCheck, session: aiohttp.ClientSession) -> None:
        calls = self._calls[check.name]
        match check:
            case TcpCheck():
                await self._keep_trying(check, partial(tcp.probe, check))
            case HttpCheck():
                await self._keep_trying(check, http.HttpProbe(check, session, calls).probe)
            case PingCheck():
                await self._keep_trying(check, partial(ping.probe, check))
            case InterfaceCheck():
                async with InterfaceWatch(check) as watch:
                    await self._keep_trying(check, watch.probe, watch.until_other_than)
            case ProcessCheck():
                await self._keep_trying(check, partial(process.probe, check, calls))
            case CommandCheck():
                await self._keep_trying(check, partial(command.probe, self._command(check)))
            case CustomCheck():
                tell = partial(self._report, check.name)
                custom = CustomWatch(check.name, self._command(check), pause=check.interval, tell=tell)
                self._customs[check.name] = custom
                await custom.run()
            case _:
                assert_never(check)

    def _command(self, check: CommandCheck | CustomCheck) -> ProgramCommand:
        environment = {**self._environment, "HCSIDECAR_CHECK": check.name}
        return ProgramCommand(words=check.command, directory=self._directory, environment=environment)

    async def _keep_trying(self, check: AnyCheck, probe: _Probe, until_other_than: _Pause | None = None) -> None:
        loop = asyncio.get_running_loop()
        verdict = CheckFilter(
            rise=check.rise,
            fall=check.fall,
            interval=check.interval,
            pending_interval=check.pending_interval,
            uniform=self._random.uniform,
        )
        while True:
            began = loop.time()
            failure = await _attempt(check, probe)
            self._report(check.name, verdict.attempted(failure))
            due = verdict.next_attempt_at(began=began, now=loop.time())
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
