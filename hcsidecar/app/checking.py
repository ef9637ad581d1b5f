"""Runs the checks of the application: each in a task of its own, so that one that hangs delays no other."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from random import Random

import aiohttp

from hcsidecar.app.checkers import http, tcp
from hcsidecar.core.checks import CheckFilter
from hcsidecar.core.settings import AnyCheck, HttpCheck, TcpCheck, format_duration


class Checking:
    """All checks of the farm file; `report(name, complaint)` takes what each says after every attempt.

    Nothing is checked until `run` runs and a round has begun.
    """

    def __init__(self, checks: Iterable[AnyCheck], *, report: Callable[[str, str | None], None]) -> None:
        self._checks = tuple(checks)
        self._report = report
        self._random = Random()  # noqa: S311 - spreads attempts, keeps no secret
        self._round: int | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._new_round = asyncio.Event()

    def begin(self, number: int | None) -> None:
        """Begin every check anew, or, with None, end them all. What the former round was about to say is dropped."""
        self._round = number
        for task in self._tasks:
            task.cancel()
        self._new_round.set()

    async def run(self) -> None:
        """Check until cancelled."""
        async with http.open_session() as session:
            while True:
                self._new_round.clear()
                if self._round is not None:
                    await self._run_round(session)
                await self._new_round.wait()

    async def _run_round(self, session: aiohttp.ClientSession) -> None:
        """Run one round to its end, so that no check of the next one meets one of this."""
        async with asyncio.TaskGroup() as group:
            self._tasks = [group.create_task(self._keep_checking(check, session)) for check in self._checks]

    async def _keep_checking(self, check: AnyCheck, session: aiohttp.ClientSession) -> None:
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
            self._report(check.name, verdict.attempted(await _attempt(check, session)))
            now = loop.time()
            await asyncio.sleep(verdict.next_attempt_at(began=began, now=now) - now)


async def _attempt(check: AnyCheck, session: aiohttp.ClientSession) -> str | None:
    """Try once within the time limit; gives the reason of a failure, None when all is well."""
    probe: Awaitable[str | None]
    match check:
        case TcpCheck():
            probe = tcp.probe(check)
        case HttpCheck():
            probe = http.probe(check, session)
        case _:
            raise NotImplementedError(check.type)
    try:
        async with asyncio.timeout(check.timeout):
            return await probe
    except TimeoutError:
        return f"no answer within {format_duration(check.timeout)}"
