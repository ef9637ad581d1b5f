"""The unattended story: all up, one stopped gently, one killed, both brought back, and what clients saw.

On the bridge one is also drained, and a web server hangs and is restarted by its daemon.
"""

import asyncio
from collections.abc import Callable, Mapping

from hcsidecar.demo.chronicle import BALANCER
from hcsidecar.demo.judge import (
    BACK_WITHIN,
    DEAD_WITHIN,
    HANG_AVOIDED_WITHIN,
    HANG_NOTICED_WITHIN,
    MENDED_WITHIN,
    NOTICED_WITHIN,
    STOPPED_WITHIN,
    PromiseResult,
    Request,
    RequestLog,
    all_take_part,
    fails_only_if_begun_in_time,
    fails_only_until_noticed,
    in_time,
    no_request_fails,
    said_in_order,
    summarise,
)
from hcsidecar.demo.plan import DemoServer
from hcsidecar.demo.report import StoryStep
from hcsidecar.demo.sight import DEAD, DRAINING, READY, STOPPED
from hcsidecar.demo.stage import Stage
from hcsidecar.demo.through_vip import Clients
from hcsidecar.demo.traffic import send_requests
from hcsidecar.demo.waiting import until

STEADY = 2.0
"Seconds of load after each change, to see its effect."
BEGUN_WITHIN = 10.0
"Seconds in which the clients of the virtual IP must begin."


class Story:
    """Plays the story on a stage, step by step."""

    def __init__(self, stage: Stage, *, tell: Callable[[int, StoryStep], None]) -> None:
        """`tell` is called with each step and its number when the step is over."""
        self._stage = stage
        self._tell = tell
        self._now = asyncio.get_running_loop().time
        self._record = RequestLog(since=self._now())
        self._vip: Clients | None = None
        "The clients of the virtual IP; None without one."
        self._steps: list[StoryStep] = []

    async def play(self) -> tuple[StoryStep, ...]:
        """Play the whole story, and return its steps."""
        async with asyncio.TaskGroup() as tasks:
            client = tasks.create_task(send_requests(self._stage.plan.front_url, self._record))
            self._vip = await self._ask_through_vip()
            await self._all_up()
            if self._vip is not None:
                await self._drain_one(self._vip)
                await self._hang_one(self._vip)
            await self._stop_one()
            await self._kill_one()
            await self._bring_both_back()
            client.cancel()
        return tuple(self._steps)

    async def _all_up(self) -> None:
        begin = self._now()
        await asyncio.sleep(STEADY)
        requests = self._record.between(begin, self._now())
        self._close(
            "All three are up",
            begin,
            requests,
            no_request_fails(requests),
            self._all_take_part(requests),
            *(self._vip.all_up(begin, self._now()) if self._vip is not None else ()),
        )

    async def _drain_one(self, vip: Clients) -> None:
        one, drained, other = self._stage.plan.servers
        begin = self._now()
        await self._stage.command("drain", drained)
        conditions = {one.name: READY, drained.name: DRAINING, other.name: READY}
        left = await self._agreed(conditions, since=begin, limit=STOPPED_WITHIN)
        known = self._now()
        await asyncio.sleep(STEADY)
        resumed = self._now()
        await self._stage.command("resume", drained)
        back = await self._agreed(self._all_ready(), since=resumed, limit=BACK_WITHIN)
        await asyncio.sleep(STEADY)
        requests = self._record.between(begin, self._now())
        self._close(
            f"{drained.name} is drained, and resumed",
            begin,
            requests,
            no_request_fails(requests),
            in_time(f"all nodes agree that {drained.name} drains", left, limit=STOPPED_WITHIN),
            in_time("all nodes agree that all are Ready", back, limit=BACK_WITHIN),
            *vip.drained(drained.name, begin, drained=known, resumed=resumed, end=self._now()),
        )

    async def _hang_one(self, vip: Clients) -> None:
        hung, *_ = self._stage.plan.servers
        begin = self._now()
        await self._stage.hang(hung)
        noticed = await self._come(lambda: self._stage.why_still_served(hung), since=begin, limit=HANG_NOTICED_WITHIN)
        mended = await self._agreed(self._all_ready(), since=begin, limit=MENDED_WITHIN)
        ready = self._now()
        serves = await self._serves(hung, since=ready, running=ready)
        steady = self._now()
        await asyncio.sleep(STEADY)
        requests = self._record.between(begin, self._now())
        self._close(
            f"{hung.name}'s web server hangs",
            begin,
            requests,
            fails_only_if_begun_in_time(requests, hang=begin, limit=HANG_AVOIDED_WITHIN),
            in_time(f"all nodes agree that {hung.name} is not Ready", noticed, limit=HANG_NOTICED_WITHIN),
            in_time("restarted by its daemon, all nodes agree that all are Ready", mended, limit=MENDED_WITHIN),
            in_time(f"{hung.name}, Ready again, serves", serves, limit=BACK_WITHIN),
            said_in_order(
                f"HAProxy's log shows {hung.name} leaving and returning by its probe",
                self._balancer_log(begin),
                words=(
                    f"web/{hung.name} conditionally succeeded",
                    f"Server web/{hung.name} is stopping",
                    f"Server web/{hung.name} is UP",
                ),
            ),
            self._all_take_part(self._record.between(steady, self._now())),
            *vip.hung(hung.name, begin, steady=steady, end=self._now()),
        )

    async def _stop_one(self) -> None:
        one, stopped, other = self._stage.plan.servers
        begin = self._now()
        await self._stage.stop(stopped)
        conditions = {one.name: READY, stopped.name: STOPPED, other.name: READY}
        took = await self._agreed(conditions, since=begin, limit=STOPPED_WITHIN)
        await asyncio.sleep(STEADY)
        requests = self._record.between(begin, self._now())
        self._close(
            f"{stopped.name} is stopped gently",
            begin,
            requests,
            no_request_fails(requests),
            in_time(f"all nodes agree that {stopped.name} has stopped", took, limit=STOPPED_WITHIN),
            said_in_order(
                f"HAProxy's log shows {stopped.name} leaving by its probe",
                self._balancer_log(begin),
                words=(f"web/{stopped.name} conditionally succeeded", f"Server web/{stopped.name} is stopping"),
            ),
            *(self._vip.stopped(stopped.name, begin, self._now()) if self._vip is not None else ()),
        )

    async def _kill_one(self) -> None:
        one, stopped, killed = self._stage.plan.servers
        begin = self._now()
        await self._stage.kill(killed)
        conditions = {one.name: READY, stopped.name: STOPPED, killed.name: DEAD}
        took = await self._agreed(conditions, since=begin, limit=DEAD_WITHIN)
        await asyncio.sleep(begin + NOTICED_WITHIN + STEADY - self._now())
        requests = self._record.between(begin, self._now())
        self._close(
            f"{killed.name} is killed",
            begin,
            requests,
            fails_only_until_noticed(requests, death=begin),
            in_time(f"all other nodes agree that {killed.name} is dead", took, limit=DEAD_WITHIN),
            said_in_order(
                f"HAProxy's log shows {killed.name} down by its probe",
                self._balancer_log(begin),
                words=(f"Health check for server web/{killed.name} failed", f"Server web/{killed.name} is DOWN"),
            ),
            *(self._vip.killed(killed.name, begin, self._now()) if self._vip is not None else ()),
        )

    async def _bring_both_back(self) -> None:
        _, *back = self._stage.plan.servers
        begin = self._now()
        running = dict(zip(back, await asyncio.gather(*map(self._bring_back, back)), strict=True))
        agreed = await self._agreed(self._all_ready(), since=max(running.values()), limit=BACK_WITHIN)
        serves = {server: await self._serves(server, since=begin, running=running[server]) for server in back}
        steady = self._now()
        await asyncio.sleep(STEADY)
        requests = self._record.between(begin, self._now())
        self._close(
            " and ".join(server.name for server in back) + " are brought back",
            begin,
            requests,
            no_request_fails(requests),
            *(
                in_time(f"{server.name}, running again, serves", took, limit=BACK_WITHIN)
                for server, took in serves.items()
            ),
            in_time("all nodes agree that all are Ready", agreed, limit=BACK_WITHIN),
            *(
                said_in_order(
                    f"HAProxy's log shows {server.name} returning by its probe",
                    self._balancer_log(begin),
                    words=(f"Health check for server web/{server.name} succeeded", f"Server web/{server.name} is UP"),
                )
                for server in back
            ),
            self._all_take_part(self._record.between(steady, self._now())),
            *(self._vip.returned(begin, steady=steady, end=self._now()) if self._vip is not None else ()),
        )

    async def _bring_back(self, server: DemoServer) -> float:
        """Bring a server back, and return when its daemon ran; the time before depends on the machine only."""
        await self._stage.bring_back(server)
        return self._now()

    async def _agreed(self, conditions: Mapping[str, str], *, since: float, limit: float) -> float | None:
        """Wait until all daemons see the servers so. Return the seconds since a time; None after the limit."""
        return await self._come(lambda: self._stage.why_not_agreed(conditions), since=since, limit=limit)

    async def _come(self, why_not: Callable[[], str | None], *, since: float, limit: float) -> float | None:
        """Wait until `why_not` returns None. Return the seconds since a time; None after the limit."""
        if await until(lambda: why_not() is None, limit=since + limit - self._now()) is None:
            return None
        return self._now() - since

    async def _serves(self, server: DemoServer, *, since: float, running: float) -> float | None:
        """Wait until a server has answered a request since a time. Return the seconds since its daemon runs."""
        rest = running + BACK_WITHIN - self._now()
        await until(lambda: self._record.first_good(server.name, since=since) is not None, limit=rest)
        first = self._record.first_good(server.name, since=since)
        return None if first is None else max(0.0, first - running)

    async def _ask_through_vip(self) -> Clients | None:
        """Start the clients of the virtual IP, if there is one, and wait until they have begun."""
        plan = self._stage.plan
        if plan.vip is None:
            return None
        record = RequestLog(since=self._now())
        self._stage.ask_through_vip(record)
        await until(lambda: record.total >= len(plan.clients), limit=BEGUN_WITHIN)
        return Clients(record, plan.clients, [server.name for server in plan.servers])

    def _all_ready(self) -> Mapping[str, str]:
        return {server.name: READY for server in self._stage.plan.servers}

    def _balancer_log(self, since: float) -> list[str]:
        return self._stage.chronicle.lines(BALANCER, since=since)

    def _all_take_part(self, requests: tuple[Request, ...]) -> PromiseResult:
        return all_take_part(requests, [server.name for server in self._stage.plan.servers])

    def _close(self, title: str, begin: float, requests: tuple[Request, ...], *verdicts: PromiseResult) -> None:
        step = StoryStep(
            title=title,
            summary=summarise(requests, begin=begin, end=self._now()),
            vip=self._vip.summary(begin, self._now()) if self._vip is not None else None,
            verdicts=verdicts,
            balancer_log=tuple(self._balancer_log(begin)),
        )
        self._steps.append(step)
        self._tell(len(self._steps), step)
