"""What strangers may cost the console: connections, heads, bodies, streams."""

import asyncio
import contextlib

import aiohttp
import pytest
from console_nodes import console_here, eventually, token_of

from hcsidecar.console.listening import HEAD_TIMEOUT, MOST_EACH
from hcsidecar.core.access.roles import AccessRole
from hcsidecar.core.console.stream_format import MOST_STREAMS_EACH


def told(tmp_path, story, **more):
    async def run():
        async with console_here(tmp_path, names=("web1", "web2"), **more) as console:
            return await story(console)

    return asyncio.run(run())


async def connect(console, *, source="127.0.0.1"):
    return await asyncio.open_connection(*console.address, local_addr=(source, 0))


async def ask(reader, writer):
    writer.write(b"GET /sign-in HTTP/1.1\r\nHost: x\r\n\r\n")
    return await asyncio.wait_for(reader.read(15), 10)


def test_one_address_gets_so_many_connections_and_leaves_room_for_others(tmp_path):
    async def story(console):
        silent = [await connect(console) for _ in range(MOST_EACH)]
        reader, writer = await connect(console)
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        other = await connect(console, source="127.0.0.2")
        assert await ask(*other) == b"HTTP/1.1 200 OK"
        for _, each in [*silent[:3], other]:
            each.close()

        async def served():
            reader, writer = await connect(console)
            with contextlib.suppress(ConnectionError):
                answer = await ask(reader, writer)
                writer.close()
                return answer == b"HTTP/1.1 200 OK"

        # The places of those that have gone are free again.
        assert await eventually(served)
        for _, each in silent:
            each.close()

    told(tmp_path, story)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X%d: y\r\n" % number for number in range(5000)) + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Y: a\r\n b\r\n\r\n",
    ],
    ids=["a long path", "a long header", "many headers", "TLS", "two lengths", "a folded header"],
)
def test_a_head_that_is_too_large_or_none_is_refused_and_the_console_serves_on(tmp_path, head):
    async def story(console):
        reader, writer = await connect(console)
        with contextlib.suppress(ConnectionError):
            writer.write(head)
            answer = await asyncio.wait_for(reader.read(), 10)
            assert not answer.startswith(b"HTTP/1.1 2")
        writer.close()
        reader, writer = await connect(console)
        assert await ask(reader, writer) == b"HTTP/1.1 200 OK"
        writer.close()
        await writer.wait_closed()

    told(tmp_path, story)


def test_one_address_follows_by_so_many_streams_and_no_more(tmp_path):
    async def story(console):
        headers = {"Authorization": f"Bearer {token_of(AccessRole.MONITOR)}"}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
            streams = [await session.get(console.url("/api/v1/stream")) for _ in range(MOST_STREAMS_EACH)]
            assert {stream.status for stream in streams} == {200}
            async with session.get(console.url("/live/farm")) as refused:
                assert refused.status == 429
            streams[0].close()

            async def admitted():
                async with session.get(console.url("/live/farm")) as stream:
                    return stream.status == 200

            assert await eventually(admitted)
            for stream in streams:
                stream.close()

    told(tmp_path, story)


@pytest.mark.soak
def test_who_does_not_say_what_he_wants_is_disconnected(tmp_path):
    async def story(console):
        reader, writer = await connect(console)

        async def trickle():
            for each in b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000:
                writer.write(bytes([each]))
                await asyncio.sleep(0.5)

        slowly = asyncio.create_task(trickle())
        began = asyncio.get_running_loop().time()
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 60) == b""
        assert asyncio.get_running_loop().time() >= began + HEAD_TIMEOUT - 1
        slowly.cancel()
        await asyncio.gather(slowly, return_exceptions=True)
        writer.close()

    told(tmp_path, story)
