"""Browsers that have the console open, and an operator who does something once a second: clients of one process.

    python -m benchmarks.open_consoles --url URL --browsers N --node NODE

Standard input says, in a line each, a session of a person and a token. Each browser gets the Farm page, follows its
stream, and asks for the last hour and its events as often as the page does. The operator gives NODE another power
again and again. It says `open` when all streams are open, ends when its standard input does, and says then what came,
as JSON: the number of messages, and of streams that broke.
"""

import argparse
import asyncio
import json
import os
import re
import sys
from contextlib import suppress

import aiohttp

from hcsidecar.core.console.openapi import BACKGROUND_HEADER, COOKIE

_SERIES_EVERY = 10.0
"Seconds, as in console/static/farm.js."
_MARKED = re.compile(rb'<tr [^>]*class="(?:warning|error)"')
"An event that is a mark on the page's chart."
_HOUR = 3600
_ACT_EVERY = 1.0
_STREAM = re.compile(r'sse-connect="([^"]+)"')


class _Clients:
    def __init__(self, client: aiohttp.ClientSession, options: argparse.Namespace, session: str, token: str) -> None:
        self._client, self._options = client, options
        self._cookies = {"Cookie": f"{COOKIE}={session}"}
        self._token = {"Authorization": f"Bearer {token}"}
        self.messages = self.broken = 0

    async def browse(self, opened: asyncio.Semaphore) -> None:
        """Have the console open."""
        async with self._client.get("/", headers=self._cookies) as page:
            page.raise_for_status()
            found = _STREAM.search(await page.text())
        assert found is not None  # noqa: S101 - the page has a stream
        async with self._client.get(found[1].replace("&amp;", "&"), headers=self._cookies) as stream:
            stream.raise_for_status()
            opened.release()
            news = asyncio.Event()
            news.set()
            looks = asyncio.create_task(self._look(news))
            try:
                is_event = False
                async for line in stream.content:
                    if line.startswith(b"event: "):
                        self.messages += 1
                        is_event = line == b"event: events\n"
                    elif is_event and _MARKED.search(line):
                        news.set()
                self.broken += 1
            finally:
                looks.cancel()

    async def _look(self, news: asyncio.Event) -> None:
        """Ask for the last hour, and for the events in it when there are new ones."""
        headers = {**self._cookies, BACKGROUND_HEADER: "1"}
        while True:
            async with self._client.get("/api/v1/series", headers=headers) as answer:
                found = await answer.json()
            newest = max(each["document"]["ends_at"] for each in found["nodes"] if each.get("document"))
            if news.is_set():
                news.clear()
                query = f"level=warning&last=200&since={max(0, int(newest) - _HOUR)}"
                async with self._client.get(f"/api/v1/events?{query}", headers=headers) as answer:
                    await answer.read()
            await asyncio.sleep(_SERIES_EVERY)

    async def act(self) -> None:
        """Change the power of a node, and change it back."""
        power = 1
        while True:
            power = 3 - power
            body = {"power": power, "nodes": [self._options.node]}
            # On a machine that is busy with others a connection may come too late for the console; he tries again.
            with suppress(aiohttp.ClientConnectionError):
                async with self._client.post("/api/v1/power", json=body, headers=self._token) as answer:
                    answer.raise_for_status()
            await asyncio.sleep(_ACT_EVERY)


async def _run(options: argparse.Namespace, session: str, token: str) -> _Clients:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
    # As many connections as the clients like; whose the certificate is does not matter here.
    async with (
        aiohttp.ClientSession(
            options.url,
            connector=aiohttp.TCPConnector(ssl=False, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=2**20,
        ) as client,
        asyncio.TaskGroup() as group,
    ):
        clients = _Clients(client, options, session, token)
        opened = asyncio.Semaphore(0)
        tasks = [group.create_task(clients.browse(opened)) for _ in range(options.browsers)]
        tasks.append(group.create_task(clients.act()))
        for _ in range(options.browsers):
            await opened.acquire()
        print("open", flush=True)
        await ended.wait()
        for task in tasks:
            task.cancel()
    return clients


def main() -> None:
    """Browse until the standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--browsers", type=int, required=True)
    parser.add_argument("--node", required=True)
    options = parser.parse_args()
    session, token = (sys.stdin.readline().strip() for _ in range(2))
    # They are other machines: what they do there costs the farm's nothing.
    os.nice(19)
    clients = asyncio.run(_run(options, session, token))
    print(json.dumps([clients.messages, clients.broken]))


if __name__ == "__main__":
    main()
