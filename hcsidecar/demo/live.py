"""The live view of the farm under load: a picture with keys on a terminal, and plain lines elsewhere."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress

from rich.console import Console
from rich.live import Live

from hcsidecar.core.documents import NodeStatus
from hcsidecar.demo.chronicle import DEMO, Chronicle, Happening
from hcsidecar.demo.judge import Request, RequestLog, summarise
from hcsidecar.demo.plan import SHARE, DemoServer
from hcsidecar.demo.programs import DemoError
from hcsidecar.demo.putting_up import put_up
from hcsidecar.demo.screen import Picture, ServerLine, VipLine, VipPicture, draw, happening_text, plain_text, seen_text
from hcsidecar.demo.sight import best_status, condition, why_not_ready
from hcsidecar.demo.stage import Stage
from hcsidecar.demo.terminal import keys
from hcsidecar.demo.through_vip import clients_of
from hcsidecar.demo.traffic import send_requests

REDRAW_EVERY = 0.2
"Seconds."
TELL_EVERY = 5.0
"Seconds between two plain lines."
LATELY = 2.0
"Seconds over which rates are computed."
SHOWN = 200
"Number of happenings that the tallest terminal has room for."


async def watch_live(console: Console) -> int:
    """Start the farm and show it until `q` or until cancelled. Raise DemoError as `put_up` does."""
    loop = asyncio.get_running_loop()
    since = loop.time()
    draws = console.is_terminal and not console.is_dumb_terminal

    def show(happening: Happening) -> None:
        if not draws:
            console.print(happening_text(happening, since=since), soft_wrap=True)

    console.print("Starting three servers, and HAProxy in front of them …")
    async with put_up(Chronicle(clock=loop.time, show=show)) as stage:
        await stage.start_consoles()
        view = LiveView(stage, since=since, with_keys=draws and sys.stdin.isatty())
        try:
            await (view.draw_on(console) if draws else view.tell_on(console))
        finally:
            console.print(f"{seen_text(view.picture())}.", soft_wrap=True)
    return 0


class LiveView:
    """The view of a stage, and the server on which the keys act."""

    def __init__(self, stage: Stage, *, since: float, with_keys: bool) -> None:
        """Times are shown relative to `since`."""
        self._stage = stage
        self._since = since
        self._now = asyncio.get_running_loop().time
        self._record = RequestLog(since=self._now())
        self._vip = RequestLog(since=self._now())
        "The requests of the virtual IP's clients; empty if there is no virtual IP."
        self._quit = asyncio.Event()
        self._with_keys = with_keys
        self._chosen = stage.plan.servers[1]
        self._acting: list[asyncio.Task[None]] = []
        self._pressed: asyncio.Queue[str] = asyncio.Queue()
        self._actions: dict[str, Callable[[DemoServer], Awaitable[object]]] = {
            "s": stage.stop,
            "k": stage.kill,
            "b": stage.bring_back,
            "d": lambda server: stage.command("drain", server),
            "r": lambda server: stage.command("resume", server),
        }
        if stage.plan.vip is not None:
            self._actions |= {
                "l": stage.cut,
                "x": stage.kill_daemon,
                "f": stage.freeze,
                "h": stage.hang,
                "p": stage.change_power,
            }

    async def draw_on(self, console: Console) -> None:
        """Redraw the picture on a terminal until `q` is pressed."""
        with ExitStack() as terminal:
            if self._with_keys:
                terminal.enter_context(keys(self._pressed.put_nowait))
            live = terminal.enter_context(Live(console=console, screen=True, auto_refresh=False))

            def show() -> None:
                live.update(draw(self.picture(), self._stage.plan, height=console.height), refresh=True)

            await self._run(show, every=REDRAW_EVERY)

    async def tell_on(self, console: Console) -> None:
        """Print the picture as a line every few seconds, until cancelled."""
        await self._run(lambda: console.print(plain_text(self.picture()), soft_wrap=True), every=TELL_EVERY)

    def picture(self) -> Picture:
        """Put together what is shown."""
        now = self._now()
        front, vip = (self._lately(record, now) for record in (self._record, self._vip))
        seen = summarise(front, begin=now - LATELY, end=now)
        return Picture(
            servers=tuple(self._line(server, seen.by_server, vip) for server in self._stage.plan.servers),
            chosen=self._chosen.name if self._with_keys else None,
            requests=self._record.total,
            failed=self._record.failed,
            failed_per_second=seen.failed / LATELY,
            longest_gap=self._record.longest_gap(now=now),
            since=self._since,
            happenings=self._stage.chronicle.last(SHOWN),
            vip=self._vip_picture(vip),
            console=self._stage.console_link,
        )

    @staticmethod
    def _lately(record: RequestLog, now: float) -> Sequence[Request]:
        return record.between(now - LATELY, now)

    def _vip_picture(self, lately: Sequence[Request]) -> VipPicture | None:
        address, network = self._stage.plan.vip, self._stage.network
        if address is None or network is None:
            return None
        return VipPicture(
            address=address,
            inside=network.process(self._chosen.name if self._with_keys else self._stage.plan.servers[0].name),
            requests=self._vip.total,
            failed=self._vip.failed,
            failed_per_second=sum(request.complaint is not None for request in lately) / LATELY,
            lost=self._vip.lost,
        )

    def _line(self, server: DemoServer, answers: Mapping[str, int], vip: Sequence[Request]) -> ServerLine:
        watch = self._stage.watch
        node = best_status(server.name, watch.documents)
        target = watch.targets.get(server.name)
        return ServerLine(
            name=server.name,
            condition=condition(node) if node is not None else "unknown",
            why=why_not_ready(node) if node is not None else "no daemon answers",
            balancer=target.state if target is not None else "unknown",
            probe=target.probe if target is not None else "",
            per_second=answers.get(server.name, 0) / LATELY,
            vip=self._vip_line(server, node, vip),
        )

    def _vip_line(self, server: DemoServer, node: NodeStatus | None, lately: Sequence[Request]) -> VipLine | None:
        if self._stage.plan.vip is None:
            return None
        return VipLine(
            share=node.share.get(SHARE, 0.0) if node is not None else 0.0,
            power=node.power if node is not None else 0,
            director=self._stage.watch.directors.get(server.name) == server.name,
            per_second=sum(request.server == server.name for request in lately) / LATELY,
            clients=tuple(sorted(clients_of(server.name, lately))),
        )

    async def _run(self, show: Callable[[], None], *, every: float) -> None:
        async with asyncio.TaskGroup() as tasks:
            own = [
                tasks.create_task(send_requests(self._stage.plan.front_url, self._record)),
                tasks.create_task(self._obey(tasks)),
            ]
            if self._stage.plan.vip is not None:
                self._stage.ask_through_vip(self._vip)
            while not self._quit.is_set():
                show()
                with suppress(TimeoutError):
                    async with asyncio.timeout(every):
                        await self._quit.wait()
            for task in [*own, *self._acting]:
                task.cancel()

    async def _obey(self, tasks: asyncio.TaskGroup) -> None:
        """Carry out the keys, each without waiting for the one before."""
        servers = {str(number): server for number, server in enumerate(self._stage.plan.servers, start=1)}
        while (key := await self._pressed.get()) != "q":
            self._chosen = servers.get(key, self._chosen)
            if key in self._actions:
                self._acting = [task for task in self._acting if not task.done()]
                self._acting.append(tasks.create_task(self._act(self._actions[key], self._chosen)))
        self._quit.set()

    async def _act(self, action: Callable[[DemoServer], Awaitable[object]], server: DemoServer) -> None:
        try:
            await action(server)
        except DemoError as error:
            self._stage.chronicle.write(DEMO, str(error), grave=True)
