"""A target group in memory behind the API of AWS: answers at once, notes when it was asked for what."""

import asyncio
import threading
import time
from contextlib import suppress
from typing import Final, NamedTuple, Self

from aiohttp import web

ARN: Final = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/bench/0123456789abcdef"
_XMLNS: Final = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"


class Asked(NamedTuple):
    """One call, and when it came, in monotonic seconds."""

    at: float
    action: str


class TargetGroup:
    """The group and its server, in a thread; `with` it. `url` is the endpoint."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._registered: set[tuple[str, str]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="target group", daemon=True)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def when(self, action: str) -> float | None:
        """Say when an action was asked for the first time since `forget`."""
        return next((asked.at for asked in tuple(self.asked) if asked.action == action), None)

    def forget(self) -> None:
        """Begin anew: nobody is registered, and nothing was asked."""
        self.asked.clear()
        self._registered.clear()

    async def _listen(self) -> str:
        app = web.Application()
        app.router.add_post("/", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    async def _serve(self, request: web.Request) -> web.Response:
        form = await request.post()
        action = str(form.get("Action", ""))
        self.asked.append(Asked(time.monotonic(), action))
        key = (str(form.get("Targets.member.1.Id")), str(form.get("Targets.member.1.Port")))
        result = ""
        match action:
            case "RegisterTargets":
                self._registered.add(key)
            case "DeregisterTargets":
                self._registered.discard(key)
            case "DescribeTargetHealth":
                there = key in self._registered
                state = (
                    "<State>healthy</State>" if there else "<State>unused</State><Reason>Target.NotRegistered</Reason>"
                )
                result = (
                    f"<TargetHealthDescriptions><member><Target><Id>{key[0]}</Id><Port>{key[1]}</Port></Target>"
                    f"<TargetHealth>{state}</TargetHealth></member></TargetHealthDescriptions>"
                )
        body = f'<{action}Response xmlns="{_XMLNS}"><{action}Result>{result}</{action}Result></{action}Response>'
        return web.Response(text=body, content_type="text/xml")
