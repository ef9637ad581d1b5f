"""Figure: what clients behind HAProxy notice when a server is stopped gently, and when it is killed instead."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohttp

from benchmarks.figures import Aim, CannotMeasureError, Figure, Row, Table
from benchmarks.progress import say
from hcsidecar.demo.chronicle import Chronicle
from hcsidecar.demo.judge import Request, RequestLog
from hcsidecar.demo.plan import PROBE_FALL, PROBE_INTERVAL, DemoServer
from hcsidecar.demo.programs import DemoError
from hcsidecar.demo.putting_up import put_up
from hcsidecar.demo.sight import READY
from hcsidecar.demo.stage import Stage
from hcsidecar.demo.traffic import PATIENCE, ask
from hcsidecar.demo.waiting import until

CLIENTS = 24
PAUSE = 0.02
"Seconds between an answer and the same client's next request."
AFTERWARDS = 2.0
"Seconds of load after a change, to see what came of it; HAProxy notices a death in half of that."
LIMIT = 60.0
"Seconds that a server may need to come back."


class Change(NamedTuple):
    """What clients met while a server went, or came back."""

    requests: int
    failed: int
    failing_for: float
    "Seconds from the change to the last failed request; 0 when none failed."
    took: float
    "Seconds that the change itself took."


def measure(*, quick: bool) -> Figure:
    """Stop and kill servers under load."""
    try:
        gentle, killed, back = asyncio.run(_measure(1 if quick else 6))
    except* DemoError as errors:
        raise CannotMeasureError("; ".join(map(str, errors.exceptions))) from errors
    none = Aim(limit=0)
    every = (*gentle, *killed, *back)
    rate = sum(change.requests for change in every) / sum(change.took + AFTERWARDS for change in every)
    return Figure(
        title="Behind HAProxy under load: a gentle stop, and a kill for contrast",
        method=f"Three nginx, three daemons and HAProxy, as `hcsidecar demo` puts them up: "
        f"`option httpchk`, a probe each {PROBE_INTERVAL * 1000:g} ms, fall {PROBE_FALL}, disable-on-404, no retries. "
        f"{CLIENTS} clients ask all the time, {PAUSE * 1000:g} ms after each answer, half of them on connections kept "
        f"open and half on a new one for each request: about {rate:.0f} requests a second in all. Stop: "
        "`hcsidecar stop`, and then the web server ended. Kill: SIGKILL for daemon and web server at once. Failed is "
        f"what was not answered with 200 and the page within {PATIENCE:g} s, until {AFTERWARDS:g} s after the change.",
        tables=(
            Table(
                title="gentle stop",
                rows=(
                    _row("requests", "", [change.requests for change in gentle]),
                    _row("failed requests", "", [change.failed for change in gentle], aim=none),
                    _row("stop command until web server ended", "s", [change.took for change in gentle]),
                ),
            ),
            Table(
                title="contrast: kill -9",
                rows=(
                    _row("requests", "", [change.requests for change in killed]),
                    _row("failed requests", "", [change.failed for change in killed]),
                    _row("kill to last failed request", "s", [change.failing_for for change in killed]),
                ),
            ),
            Table(
                title="coming back",
                rows=(
                    _row("requests", "", [change.requests for change in back]),
                    _row("failed requests", "", [change.failed for change in back], aim=none),
                    _row("start until HAProxy calls it UP", "s", [change.took for change in back]),
                ),
            ),
        ),
    )


def _row(what: str, unit: str, runs: list[float] | list[int], *, aim: Aim | None = None) -> Row:
    return Row(what=what, unit=unit, runs=tuple(map(float, runs)), aim=aim)


async def _measure(runs: int) -> tuple[list[Change], list[Change], list[Change]]:
    clock = asyncio.get_running_loop().time
    gentle: list[Change] = []
    killed: list[Change] = []
    back: list[Change] = []
    say("putting up three servers and HAProxy")
    async with put_up(Chronicle(clock=clock, show=lambda _happening: None)) as stage:
        record = RequestLog(since=clock())
        async with _clients(stage.plan.front_url, record):
            await asyncio.sleep(AFTERWARDS)
            for run in range(runs):
                server = stage.plan.servers[run % len(stage.plan.servers)]
                for found, what, go in ((gentle, "stopped", stage.stop), (killed, "killed", stage.kill)):
                    say(f"behind HAProxy, run {run + 1} of {runs}: {server.name} is {what}")
                    found.append(await _change(go, server, record, clock))
                    back.append(await _change(lambda one: _bring_back(stage, one), server, record, clock))
    return gentle, killed, back


async def _change(
    go: Callable[[DemoServer], Awaitable[None]], server: DemoServer, record: RequestLog, clock: Callable[[], float]
) -> Change:
    begin = clock()
    await go(server)
    took = clock() - begin
    await asyncio.sleep(AFTERWARDS)
    requests = record.between(begin, clock())
    bad = [request for request in requests if request.complaint is not None]
    return Change(
        requests=len(requests),
        failed=len(bad),
        failing_for=max((request.ended - begin for request in bad), default=0.0),
        took=took,
    )


async def _bring_back(stage: Stage, server: DemoServer) -> None:
    await stage.bring_back(server)
    everybody = {one.name: READY for one in stage.plan.servers}
    agreed = await until(lambda: stage.why_not_agreed(everybody) is None, limit=LIMIT)
    up = await until(lambda: _all_up(stage), limit=LIMIT)
    if agreed is None or up is None:
        raise CannotMeasureError(f"{server.name} does not come back: {stage.why_not_agreed(everybody)}")


def _all_up(stage: Stage) -> bool:
    states = {name: target.state for name, target in stage.watch.targets.items()}
    return all(states.get(server.name) == "UP" for server in stage.plan.servers)


@asynccontextmanager
async def _clients(url: str, record: RequestLog) -> AsyncIterator[None]:
    """Have clients ask while the block runs."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        aiohttp.ClientSession(timeout=timeout) as lasting,
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as fresh,
        asyncio.TaskGroup() as tasks,
    ):
        asking = [
            tasks.create_task(_ask_for_ever(lasting if number % 2 else fresh, url, record)) for number in range(CLIENTS)
        ]
        yield
        for client in asking:
            client.cancel()


async def _ask_for_ever(session: aiohttp.ClientSession, url: str, record: RequestLog) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        began = clock()
        server, complaint = await ask(session, url)
        record.add(Request(began=began, ended=clock(), server=server, complaint=complaint))
        await asyncio.sleep(PAUSE)
