"""The client of HAProxy: a steady stream of requests, a new connection each, and a record of what came back."""

import asyncio
import re
from http import HTTPStatus
from itertools import count

import aiohttp

from hcsidecar.demo.judge import Request, RequestLog

RATE = 60
"Requests a second."
AT_ONCE = 50
"Requests that may be under way; while so many are, no new ones begin."
PATIENCE = 2.0
"Seconds after which a request has failed."
_NAME = re.compile(rb"<h1>(\w+)</h1>")


async def ask(session: aiohttp.ClientSession, url: str) -> tuple[str | None, str | None]:
    """Ask once: the name of who answered and None, or None and what was wrong."""
    try:
        async with session.get(url) as response:
            page = await response.read()
    except TimeoutError:
        return None, f"no answer in {PATIENCE:g} s"
    except (aiohttp.ClientError, OSError) as error:
        return None, type(error).__name__
    if response.status != HTTPStatus.OK:
        return None, f"{response.status} {response.reason}"
    name = name_in(page)
    return (name, None) if name else (None, "a page that names no server")


def name_in(page: bytes) -> str | None:
    """Give the name of the server that made a page, or None."""
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
            server, complaint = await ask(session, url)
            record.add(Request(began=began, ended=loop.time(), server=server, complaint=complaint))

    # Proxies named in the environment are not asked: traffic stays on loopback.
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
        asyncio.TaskGroup() as under_way,
    ):
        begin = loop.time()
        for number in count():
            # By the clock, not one after the other: a slow answer must not slow the client down.
            await asyncio.sleep(begin + number / RATE - loop.time())
            if not slots.locked():
                under_way.create_task(request())
