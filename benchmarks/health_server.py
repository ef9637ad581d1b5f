"""A process that answers /health: as the daemon does, or as a bare aiohttp handler does, for comparison.

    python -m benchmarks.health_server ours | aiohttp

Prints its port. "ours" then turns its answer with each line of standard input, and prints when: nanoseconds of the
monotonic clock, which all processes of a machine share.
"""

import asyncio
import sys
import time

from aiohttp import web

from hcsidecar.core.health import HealthAnswer, HealthFace
from hcsidecar.web.listener import HealthServer

OK = HealthAnswer(ok=True, node="web1", state="UP(Ready)")
NOT_FOUND = HealthAnswer(ok=False, node="web1", state="UP(NotReady)", reason="measured")


async def ours() -> None:
    """Answer at the front door of the daemon."""
    loop = asyncio.get_running_loop()
    face = HealthFace(farm="bench", path="/health", answer=OK, now=loop.time())
    server = HealthServer(face)
    await server.start((("127.0.0.1", 0),))
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print(server.addresses[0][1], flush=True)
    while await orders.readline():
        turned = time.monotonic_ns()
        face.set_answer(NOT_FOUND if face.answer.ok else OK, now=loop.time())
        print(turned, flush=True)
    await server.close()


async def bare_aiohttp() -> None:
    """Answer as an application of one handler does."""

    async def handle(_request: web.Request) -> web.Response:
        return web.Response(text="OK\n")

    app = web.Application()
    app.router.add_get("/health", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print(runner.addresses[0][1], flush=True)
    await orders.read()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(ours() if sys.argv[1] == "ours" else bare_aiohttp())
