"""Events: pages, waiting for the next, following a node near or far."""

import asyncio
import contextlib
import json

import aiohttp
import pytest
from api_nodes import ask, closed_port, running

from hcsidecar.api.control import ApiAddress
from hcsidecar.api.following import read_page
from hcsidecar.api.relay import UnreachableError
from hcsidecar.api.requests import Reply
from hcsidecar.core.events import Event, Level
from hcsidecar.core.farmfile.values import HostPort


def event(message, level=Level.INFO):
    return Event(level=level, origin="membership", message=message)


@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v1/nodes/web2"])
def test_events_come_from_a_number_on_or_as_the_last_few(tmp_path, prefix):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            for node in nodes.values():
                for n in range(4):
                    node.control.journal.write(event(str(n), Level.WARNING if n == 2 else Level.INFO))
            _, page = await ask(nodes["web1"], "GET", f"{prefix}/events?last=2")
            assert [e["message"] for e in page["events"]] == ["2", "3"]
            first = page["events"][0]["number"] - 2
            _, page = await ask(nodes["web1"], "GET", f"{prefix}/events?after={first}")
            assert [e["message"] for e in page["events"]] == ["1", "2", "3"]
            _, page = await ask(nodes["web1"], "GET", f"{prefix}/events?level=warning")
            assert [e["message"] for e in page["events"]] == ["2"]

    asyncio.run(story())


@pytest.mark.parametrize("name", ["web1", "web2"])
def test_who_waits_gets_the_next_event_when_it_comes(tmp_path, name):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            journal = nodes[name].control.journal
            last = journal.write(event("old")).number
            path = f"/api/v1/nodes/{name}/events?after={last}&wait=20"
            waiting = asyncio.create_task(ask(nodes["web1"], "GET", path))
            await asyncio.sleep(0.05)
            journal.write(event("new"))
            _, page = await asyncio.wait_for(waiting, 2)
            assert [e["message"] for e in page["events"]] == ["new"]

    asyncio.run(story())


@contextlib.asynccontextmanager
async def following(node, path):
    """Follow over a node's socket; gives a function that gives the next line."""
    connector = aiohttp.UnixConnector(str(node.socket))
    async with aiohttp.ClientSession(connector=connector) as session, session.get(f"http://node{path}") as response:
        assert response.status == 200
        assert response.content_type == "application/x-ndjson"

        async def line(limit=5.0):
            text = await asyncio.wait_for(response.content.readline(), limit)
            return json.loads(text) if text else None

        yield line


@pytest.mark.parametrize("prefix", ["/api/v1", "/api/v1/nodes/web2"])
def test_a_follower_gets_events_as_they_come(tmp_path, prefix):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            journal = nodes["web2" if "web2" in prefix else "web1"].control.journal
            journal.write(event("older"))
            journal.write(event("old"))
            async with following(nodes["web1"], f"{prefix}/events?follow=1&last=1&level=info") as line:
                assert (await line())["message"] == "old"
                for n in range(3):
                    journal.write(event("not at this level", Level.DEBUG))
                    journal.write(event(f"new {n}"))
                    assert (await line())["message"] == f"new {n}"

    asyncio.run(story())


def test_following_ends_after_the_last_event_when_the_daemon_ends(tmp_path):
    async def story():
        async with running(["web1"], tmp_path) as nodes:
            journal = nodes["web1"].control.journal
            async with following(nodes["web1"], "/api/v1/events?follow=1") as line:
                journal.write(event("shut down"))
                journal.close()
                assert (await line())["message"] == "shut down"
                assert await line() is None

    asyncio.run(story())


def test_followers_do_not_hold_up_the_end_of_the_daemon(tmp_path):
    async def story():
        async with contextlib.AsyncExitStack() as stack:
            async with running(["web1", "web2"], tmp_path) as nodes:
                lines = [
                    await stack.enter_async_context(following(nodes["web1"], f"/api/v1/nodes/{name}/events?follow=1"))
                    for name in nodes
                ]
                nodes["web1"].control.journal.write(event("here"))
                assert (await lines[0]())["message"] == "here"
            # The nodes have ended, and with them the streams, though nobody has closed a journal.
            for line in lines:
                with pytest.raises(aiohttp.ClientPayloadError):
                    await line()

    asyncio.run(story())


def test_a_follower_outlives_the_restart_of_the_node_that_it_follows(tmp_path):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            addresses, journal = nodes["web1"].control.nodes, nodes["web2"].control.journal
            there = addresses["web2"]
            number = journal.write(event("before")).number
            async with following(nodes["web1"], f"/api/v1/nodes/web2/events?follow=1&after={number - 1}") as line:
                assert (await line())["message"] == "before"
                addresses["web2"] = ApiAddress(address=HostPort("127.0.0.1", closed_port()))
                journal.write(event("ends the question that is under way"))
                notices = [await line(), await line()]
                assert notices[0]["message"] == "ends the question that is under way"
                assert "does not answer: connection refused" in notices[1]["notice"]
                journal.write(event("meanwhile"))
                addresses["web2"] = there
                assert (await line())["notice"] == "web2 answers again"
                assert (await line())["message"] == "meanwhile"

    asyncio.run(story())


def test_a_page_of_another_form_is_as_good_as_no_answer():
    for body in (b"[]", b"{}", b"\xff", b""):
        with pytest.raises(UnreachableError, match="not in a form that this version understands"):
            read_page(Reply(status=200, body=body))


def test_following_a_node_that_is_not_there_is_refused_at_once(tmp_path):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            await nodes["web2"].stop_tcp()
            status, document = await ask(nodes["web1"], "GET", "/api/v1/nodes/web2/events?follow=1")
            assert status == 502
            assert "connection refused" in document["reason"]

    asyncio.run(story())


def test_a_slow_follower_fills_no_memory_and_is_told_what_it_missed(tmp_path):
    async def story():
        async with running(["web1"], tmp_path) as nodes:
            journal = nodes["web1"].control.journal
            reader, writer = await asyncio.open_unix_connection(str(nodes["web1"].socket), limit=1024)
            writer.write(b"GET /api/v1/events?follow=1&after=0 HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            for n in range(6_000):
                journal.write(event(f"{n} {'x' * 900}"))
                if n % 50 == 0:
                    await asyncio.sleep(0)
            journal.close()
            text = await asyncio.wait_for(reader.read(), 10)
            lines = [json.loads(part) for part in unchunked(text).splitlines()]
            missed = sum(line.get("missed", 0) for line in lines)
            seen = [int(line["message"].split()[0]) for line in lines if "message" in line]
            assert missed > 3_000
            assert missed + len(seen) == 6_000
            assert seen == sorted(seen)
            assert seen[-1] == 5_999
            writer.close()

    asyncio.run(story())


def unchunked(text):
    whole = b""
    while text:
        length, _, text = text.partition(b"\r\n")
        whole += text[: int(length, 16)]
        text = text[int(length, 16) + 2 :]
    return whole
