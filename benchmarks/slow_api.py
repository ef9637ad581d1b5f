"""Stands in for the API of AWS as it is on its worst days: below /hang it never answers, below /big late and at length.

    python -m benchmarks.slow_api --members NUMBER --delay SECONDS

It prints its port. GET /asked says how often it was asked for each; GET /ok is a page for checks.
"""

import argparse
import asyncio
from collections import Counter

from aiohttp import web

_XMLNS = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
_MEMBER = (
    "<member><Target><Id>198.51.100.{}</Id><Port>{}</Port></Target>"
    "<TargetHealth><State>healthy</State></TargetHealth></member>"
)


class SlowApi:
    """The API: `members` targets are in each big answer, which comes after `delay` seconds."""

    def __init__(self, *, members: int, delay: float) -> None:
        described = "".join(_MEMBER.format(number % 250 + 1, number % 60_000 + 1) for number in range(members))
        self._big = (
            f'<DescribeTargetHealthResponse xmlns="{_XMLNS}"><DescribeTargetHealthResult><TargetHealthDescriptions>'
            f"{described}</TargetHealthDescriptions></DescribeTargetHealthResult></DescribeTargetHealthResponse>"
        )
        self._delay = delay
        self._asked: Counter[str] = Counter()

    async def serve(self) -> None:
        """Serve on loopback until killed."""
        app = web.Application()
        app.router.add_post("/{how}", self._answer)
        app.router.add_get("/asked", self._say)
        app.router.add_get("/ok", self._ok)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    async def _answer(self, request: web.Request) -> web.Response:
        how = request.match_info["how"]
        self._asked[how] += 1
        await asyncio.sleep(self._delay if how == "big" else 3600.0)
        return web.Response(text=self._big, content_type="text/xml")

    async def _say(self, request: web.Request) -> web.Response:  # noqa: ARG002 - aiohttp hands it over
        return web.json_response(dict(self._asked))

    async def _ok(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return web.Response(text="It works")


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, required=True)
    parser.add_argument("--delay", type=float, required=True)
    options = parser.parse_args()
    asyncio.run(SlowApi(members=options.members, delay=options.delay).serve())


if __name__ == "__main__":
    main()
