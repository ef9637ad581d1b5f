"""The test page, which says which server has answered."""

import asyncio
import contextlib
import socket

import aiohttp
import pytest
from console_nodes import console_here


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def told(tmp_path, story):
    async def run():
        port = free_port()
        async with (
            console_here(tmp_path, names=("web1", "web2"), test_page=("127.0.0.1", port)),
            aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            return await story(session)

    return asyncio.run(run())


def test_it_says_who_answers_and_ends_the_connection(tmp_path):
    async def story(session):
        for _ in range(2):
            async with session.get("/who") as answer:
                assert await answer.json() == {"node": "web1"}
                assert answer.headers["Connection"] == "close"
                assert answer.headers["Cache-Control"] == "no-store"

    told(tmp_path, story)


def test_the_page_loads_what_it_needs_and_nothing_of_the_console_is_there(tmp_path):
    async def story(session):
        async with session.get("/", headers={"Accept-Language": "fr"}) as answer:
            page = await answer.text()
            assert '<html lang="fr">' in page
            assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        for path in ("/static/mosaic.js", "/static/mosaic.css", "/static/console.css"):
            async with session.get(path) as answer:
                assert answer.status == 200
        for path in ("/sign-in", "/api/v1/farm", "/static/console.js", "/static/../app.py", "/farm"):
            async with session.get(path) as answer:
                assert answer.status == 404

    told(tmp_path, story)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_takes_nothing(tmp_path, method):
    async def story(session):
        with contextlib.suppress(aiohttp.ClientError):
            async with session.request(method, "/who", data=b"x" * 100) as answer:
                assert answer.status == 405

    told(tmp_path, story)
