"""The stream of changes: what comes first, that it goes on where it was broken, and that a slow client harms nobody."""

import asyncio
import json
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import pytest
from console_nodes import console_here, token_of
from waiting import until

from hcsidecar.core.access.record import AccessRecord, ChangeStamp
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.events import Event, Level


def told(tmp_path, story, **more):
    async def run():
        async with console_here(tmp_path, names=("web1", "web2"), **more) as console:
            return await story(console)

    return asyncio.run(run())


@asynccontextmanager
async def stream(console, *, last_id=None, role=AccessRole.MONITOR):
    """Open a stream; give a function that waits for the next message of a kind, as its id and document."""
    headers = {"Authorization": f"Bearer {token_of(role)}"} | ({"Last-Event-ID": last_id} if last_id else {})
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
    async with session, session.get(console.url("/api/v1/stream"), headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"

        async def message(kind):
            while True:
                lines = await one_message(response)
                if lines.get("event") == kind:
                    return lines.get("id", ""), json.loads(lines["data"])

        yield message


async def one_message(response):
    fields = {}
    async with asyncio.timeout(20):
        while line := (await response.content.readline()).decode().removesuffix("\n"):
            name, _, value = line.partition(": ")
            fields[name] = value
    if response.content.at_eof():
        raise EOFError
    return fields


def write(console, node, text):
    console.nodes[node].control.journal.write(Event(level=Level.INFO, origin="test", message=text))


def watches():
    return [task for task in asyncio.all_tasks() if task.get_name() in ("watch of the farm", "events of web1")]


def test_first_comes_the_farm_and_then_what_changes(tmp_path):
    async def story(console):
        async with stream(console) as message:
            _, farm = await message("farm")
            assert [node["name"] for node in farm["nodes"]] == ["web1", "web2"]
            await until(lambda: len(watches()) == 2)
            await console.ask("GET", "/api/v1/farm")
            console.nodes["web2"].control.row("web2", draining=True, reason="drained by the operator")
            _, node = await message("node")
            assert (node["name"], node["status"]["draining"]) == ("web2", True)

    told(tmp_path, story)


def test_events_of_all_nodes_come_as_they_happen(tmp_path):
    async def story(console):
        async with stream(console) as message:
            await message("farm")
            for node in ("web1", "web2", "web1"):
                write(console, node, f"something at {node}")
                identity, entry = await message("event")
                assert (entry["node"], entry["message"]) == (node, f"something at {node}")
                assert f"{node}={entry['number']}" in identity

    told(tmp_path, story)


def test_a_stream_goes_on_where_it_was_broken_without_a_gap_and_without_a_double(tmp_path):
    async def story(console):
        async with stream(console) as message:
            await message("farm")
            write(console, "web1", "seen")
            identity, _ = await message("event")
        for number in range(30):
            write(console, f"web{number % 2 + 1}", f"missed {number}")
        async with stream(console, last_id=identity) as message:
            got = [(await message("event"))[1]["message"] for _ in range(30)]
            assert sorted(got) == sorted(f"missed {number}" for number in range(30))
            write(console, "web2", "live again")
            assert (await message("event"))[1]["message"] == "live again"

    told(tmp_path, story)


def test_a_rolling_command_is_told_as_it_goes(tmp_path):
    async def story(console):
        async with stream(console) as message:
            await message("farm")
            console.nodes["web1"].control.row("web2", status="NotReady", reason="ill")
            await console.ask("POST", "/api/v1/rolling", {"action": "restart"})
            while (report := (await message("rolling"))[1])["state"] == "running":
                pass
            assert report["state"] == "failed"

    told(tmp_path, story)


def test_when_nobody_follows_any_more_nobody_is_asked(tmp_path):
    async def story(console):
        async with stream(console) as message:
            await message("farm")
            await until(lambda: len(watches()) == 2)
        # The console notices that the client has gone when it writes.
        write(console, "web1", "to somebody who has gone")
        write(console, "web1", "once more")
        await until(lambda: not watches(), limit=40)

    told(tmp_path, story)


def test_an_id_that_is_none_says_nothing(tmp_path):
    async def story(console):
        write(console, "web1", "before")
        async with stream(console, last_id="web9=7,x,web1=y," + "a" * 3000) as message:
            await message("farm")
            write(console, "web1", "after")
            assert (await message("event"))[1]["message"] == "after"

    told(tmp_path, story)


def test_the_stream_of_a_revoked_token_ends(tmp_path):
    async def story(console):
        async with stream(console) as message:
            await message("farm")
            record = console.record[0]
            [(identity, token)] = [pair for pair in record.tokens.items() if pair[1].name == "monitor-token"]
            gone = msgspec.structs.replace(token, revoked=ChangeStamp(2, 2, "web1"))
            console.record[0] = record.merged(AccessRecord(tokens={identity: gone}))
            with pytest.raises(EOFError):
                await message("nothing")

    told(tmp_path, story, heartbeat=0.2)
