"""A browser of a test that asks the console for pages, without what runs in a browser."""

import asyncio
import re
from contextlib import asynccontextmanager

import aiohttp
from console_nodes import PASSWORD, USERS


@asynccontextmanager
async def browser(console, role=None):
    """Give a function that asks for a page as a browser does: its status, headers and text."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:

        async def ask(method, path, form=None, **headers):
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.request(
                method, console.url(path), data=form, headers=names, allow_redirects=False
            ) as response:
                return response.status, response.headers, await response.text(errors="replace")

        ask.session = session
        if role is not None:
            status, headers, _ = await ask("POST", "/sign-in", {"name": USERS[role], "password": PASSWORD})
            assert (status, headers["Location"]) == (303, "/")
        yield ask


def csrf_in(page):
    return re.search(r'name="csrf" value="([0-9a-f]+)"', page)[1]


async def until_part(stream, kind, text):
    """Read a stream until a part of this name with this text in it comes; give its HTML."""
    async with asyncio.timeout(20):
        found, data = "", []
        while True:
            line = (await stream.content.readline()).decode().removesuffix("\n")
            if not line:
                if found == kind and text in "\n".join(data):
                    return "\n".join(data)
                found, data = "", []
            name, _, value = line.partition(": ")
            found = value if name == "event" else found
            data += [value] if name == "data" else []
