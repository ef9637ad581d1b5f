"""The client of HAProxy: sends a steady stream of requests over new connections, and records the answers."""

import asyncio
import re
from http import HTTPStatus
from itertools import count
from typing import NamedTuple

import aiohttp

from hcsidecar.demo.judge import Request, RequestLog

RATE = 60
"Requests a second."
AT_ONCE = 50
"Requests in progress at most; while there are this many, no new ones begin."
PATIENCE = 2.0
"Seconds without an answer after which a request has failed."
_NAME = re.compile(rb"<h1>(\w+)</h1>")


class RequestResult(NamedTuple):
    """What came of a request: the name of the server that answered, or what was wrong."""

    server: str | None = None
    complaint: str | None = None


async def ask(session: aiohttp.ClientSession, url: str) -> RequestResult:
    """Send one request. Never raises for what the network or the server does."""
    try:
        async with session.get(url) as response:
            page = await response.read()
    except TimeoutError:
        return RequestResult(complaint=f"no answer in {PATIENCE:g} s")
    except (aiohttp.ClientError, OSError) as error:
        return RequestResult(complaint=type(error).__name__)
    if response.status != HTTPStatus.OK:
        return RequestResult(complaint=f"{response.status} {response.reason}")
    name = name_in(page)
    return RequestResult(server=name) if name else RequestResult(complaint="a page that names no server")


def name_in(page: bytes) -> str | None:
    """Return the name of the server in a page, or None."""
    found = _NAME.search(page)
    return found[1].decode() if found else None


async def send_requests(url: str, record: RequestLog) -> None:
    """Send requests until cancelled."""
    loop = asyncio.get_running_loop()
    slots = asyncio.Semaphore(AT_ONCE)
    connector = aiohttp.TCPConnector(force_close=True)
    timeout = aiohttp.ClientTimeout(total=PATIENCE)

    async def request() -> None:
        async with slots:
            began = loop.time()
            result = await ask(session, url)
            record.add(Request(began=began, ended=loop.time(), server=result.server, complaint=result.complaint))

    # Proxies of the environment are not used: the traffic stays on loopback.
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
        asyncio.TaskGroup() as under_way,
    ):
        begin = loop.time()
        for number in count():
            # Started by the clock, because a slow answer must not slow down the client.
            await asyncio.sleep(begin + number / RATE - loop.time())
            if not slots.locked():
                under_way.create_task(request())
