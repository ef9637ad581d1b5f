"""Whoever holds connections, sends garbage or reads nothing: a probe is answered, places are few, the log is quiet."""

import asyncio
import logging
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from health_node import LIMIT, echo_app, health_node, read_answer, tls_contexts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from probes import PROBES, V1_TCP4, V2_LOCAL
from waiting import until

from hcsidecar.web.connections import Limits
from hcsidecar.web.refusals import ConnectionRefusal

HASTY = Limits(head_timeout=0.2, idle_timeout=0.4, close_timeout=0.2, sweep_interval=0.02)
PROBE = b"GET /health HTTP/1.1\r\nHost: web1\r\n\r\n"
HALF_A_PROBE = PROBE[:20]


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog):
    caplog.set_level(logging.INFO)
    yield
    assert caplog.get_records("call") == []


@asynccontextmanager
async def crowd(node, sizes):
    """Connect many times; each sends so many bytes of a probe and waits."""
    connections = []
    try:
        for sent in sizes:
            reader, writer = await node.connect()
            writer.write(PROBE[:sent])
            connections.append((reader, writer))
        yield connections
    finally:
        for _, writer in connections:
            writer.close()


def test_500_idle_and_half_open_connections_delay_no_probe(tmp_path):
    server_tls, _ = tls_contexts(tmp_path)

    async def story():
        async with health_node() as node, AsyncExitStack() as stack:
            await node.server.start((("127.0.0.1", 0),), tls=server_tls)
            silent = await stack.enter_async_context(crowd(node, [0] * 150 + [20] * 150))
            answered = await stack.enter_async_context(crowd(node, [len(PROBE)] * 100))
            for reader, _ in answered:
                await read_answer(reader)
            plain, node.address = node.address, node.server.addresses[1]
            await stack.enter_async_context(crowd(node, [0] * 100))
            node.address = plain
            await until(lambda: len(node.server.connections) == 500)
            for _ in range(20):
                assert await node.is_answered()
            assert not node.server.connections.refusals
            # Nobody was thrown out for the probes: a half-open one may still finish.
            reader, writer = silent[-1]
            writer.write(PROBE[20:])
            assert (await read_answer(reader)).endswith(b"OK\n")

    asyncio.run(story())


def test_when_it_is_crowded_the_longest_silent_goes_and_a_new_probe_gets_in():
    async def story():
        async with (
            health_node(limits=Limits(probing=10)) as node,
            crowd(node, [0, 5, len(PROBE), 5, 0, 0, 0, 0, 0, 0]) as connections,
        ):
            await read_answer(connections[2][0])
            await until(lambda: len(node.server.connections) == 10)
            connections[0][1].write(PROBE)
            await read_answer(connections[0][0])
            assert await node.is_answered()
            assert await node.is_answered()
            # The first has spoken lately; the second has not finished a request, whatever it dribbles.
            assert await asyncio.wait_for(connections[1][0].read(), LIMIT) == b""
            connections[0][1].write(PROBE)
            assert (await read_answer(connections[0][0])).endswith(b"OK\n")
            assert node.server.connections.refusals == {ConnectionRefusal.CROWDED_OUT: 1}

    asyncio.run(story())


def test_however_many_connect_they_take_no_more_places_than_there_are():
    async def story():
        async with health_node(limits=Limits(probing=50)) as node:
            most = 0
            for _ in range(8):
                async with crowd(node, [0, 7] * 50):
                    most = max(most, len(node.server.connections))
                    assert await node.is_answered()
            assert most <= 50
            await until(lambda: len(node.server.connections) == 0)

    asyncio.run(story())


def test_who_fills_the_api_crowds_out_no_probe_and_no_api_connection_outlives_its_place():
    async def story():
        async with health_node(app=echo_app(), limits=Limits(probing=10, handed_over=5)) as node:
            prober = await node.connect()
            prober[1].write(PROBE)
            await read_answer(prober[0])
            others = []
            for _ in range(20):
                reader, writer = await node.connect()
                others.append((reader, writer))
                writer.write(b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n")
                await read_answer(reader)
            assert len(node.server.connections) == 1 + 5
            assert node.server.connections.refusals == {ConnectionRefusal.CROWDED_OUT: 15}
            for reader, _ in others[:15]:
                assert await asyncio.wait_for(reader.read(), LIMIT) == b""
            prober[1].write(PROBE)
            assert (await read_answer(prober[0])).endswith(b"OK\n")
            for _, writer in (*others, prober):
                writer.close()
            await until(lambda: len(node.server.connections) == 0)

    asyncio.run(story())


@pytest.mark.parametrize("begin", [b"", b"\r\n", b"GET", HALF_A_PROBE, V2_LOCAL[:5], V1_TCP4[:20], V2_LOCAL + b"GET"])
def test_a_head_that_does_not_come_in_time_ends_the_connection(begin):
    async def story():
        async with health_node(limits=HASTY) as node:
            assert await node.ask(begin) == b""
            assert node.server.connections.refusals == {ConnectionRefusal.TOO_SLOW: 1}
            assert len(node.server.connections) == 0

    asyncio.run(story())


def test_who_dribbles_gains_no_time():
    async def story():
        async with health_node(limits=HASTY) as node:
            _, writer = await node.connect()
            writer.write(HALF_A_PROBE)
            while not node.server.connections.refusals:
                writer.write(b"b")
                await asyncio.sleep(0.001)
            assert node.server.connections.refusals == {ConnectionRefusal.TOO_SLOW: 1}
            writer.close()

    asyncio.run(story())


def test_the_second_request_must_come_in_time_too():
    async def story():
        async with health_node(limits=HASTY) as node:
            reader, writer = await node.connect()
            writer.write(PROBE + HALF_A_PROBE)
            await read_answer(reader)
            assert await asyncio.wait_for(reader.read(), LIMIT) == b""
            assert node.server.connections.refusals == {ConnectionRefusal.TOO_SLOW: 1}
            writer.close()

    asyncio.run(story())


def test_an_idle_connection_is_closed_in_peace():
    async def story():
        async with health_node(limits=HASTY) as node:
            reader, writer = await node.connect()
            writer.write(PROBE)
            await read_answer(reader)
            assert await asyncio.wait_for(reader.read(), LIMIT) == b""
            await until(lambda: len(node.server.connections) == 0)
            assert not node.server.connections.refusals
            writer.close()

    asyncio.run(story())


def test_a_handshake_that_does_not_end_in_time_ends_the_connection(tmp_path):
    server_tls, _ = tls_contexts(tmp_path)

    async def story():
        async with health_node(tls=server_tls, limits=HASTY) as node:
            for begin in (b"", b"\x16", b"\x16\x03\x01\x02\x00", V2_LOCAL):
                assert await node.ask(begin) == b""
            await until(lambda: len(node.server.connections) == 0)
            refusals = node.server.connections.refusals
            assert refusals[ConnectionRefusal.TLS] + refusals[ConnectionRefusal.TOO_SLOW] == 4

    asyncio.run(story())


@pytest.mark.parametrize(
    ("garbage", "status", "refusal"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400", ConnectionRefusal.REQUEST_LINE),
        (bytes(range(256)) * 100, b"400", ConnectionRefusal.REQUEST_LINE),
        (b"GET /health HTTP/1.1\r\nHost\r\n\r\n", b"400", ConnectionRefusal.HEADER),
        (b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 100_000, b"431", ConnectionRefusal.TOO_LARGE),
        (b"GET /" + b"a" * 1_000_000, b"431", ConnectionRefusal.TOO_LARGE),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"505", ConnectionRefusal.HTTP_2),
        (PROBE * 17, b"429", ConnectionRefusal.PIPELINED),
        (PROBE * 100_000, b"429", ConnectionRefusal.PIPELINED),
    ],
)
@pytest.mark.parametrize("app", [lambda: None, echo_app])
def test_garbage_is_refused_and_counted(garbage, status, refusal, app):
    async def story():
        async with health_node(app=app()) as node:
            answer = await node.ask(garbage)
            last = answer[answer.rindex(b"HTTP/1.1 ") :]
            assert last.startswith(b"HTTP/1.1 " + status)
            assert b"\r\nConnection: close\r\n" in last
            assert answer.count(b"OK\n") <= 16
            assert node.server.connections.refusals == {refusal: 1}
            assert await node.is_answered()

    asyncio.run(story())


def test_garbage_over_tls_is_refused_and_counted(tmp_path):
    server_tls, client_tls = tls_contexts(tmp_path)

    async def story():
        async with health_node(tls=server_tls) as node:
            assert (await node.ask(b"\0", ssl=client_tls)).startswith(b"HTTP/1.1 400 ")
            assert node.server.connections.refusals == {ConnectionRefusal.REQUEST_LINE: 1}
            await until(lambda: len(node.server.connections) == 0)

    asyncio.run(story())


def test_a_bad_prefix_is_not_even_answered():
    async def story():
        async with health_node() as node:
            assert await node.ask(b"PROXY nonsense\r\n" + PROBE) == b""
            assert node.server.connections.refusals == {ConnectionRefusal.PROXY_PREFIX: 1}

    asyncio.run(story())


def test_who_asks_and_does_not_read_is_thrown_out():
    async def story():
        async with health_node(limits=Limits(pipelined=500)) as node:
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            client.setblocking(False)  # noqa: FBT003 - the socket module takes it so
            loop = asyncio.get_running_loop()
            try:
                await loop.sock_connect(client, node.address)
                refusals = node.server.connections.refusals
                while not refusals:
                    told = node.face.told_ok
                    await loop.sock_sendall(client, PROBE * 500)
                    await until(lambda told=told: refusals or node.face.told_ok == told + 500)
                assert refusals == {ConnectionRefusal.READS_TOO_SLOWLY: 1}
                await until(lambda: len(node.server.connections) == 0)
                assert await node.is_answered()
            finally:
                client.close()

    asyncio.run(story())


def test_who_sends_on_after_the_last_answer_is_cut_off():
    async def story():
        async with health_node(limits=HASTY) as node:
            reader, writer = await node.connect()
            writer.write(b"\0")
            assert (await asyncio.wait_for(reader.read(), LIMIT)).startswith(b"HTTP/1.1 400 ")
            assert len(node.server.connections) == 1
            while len(node.server.connections):
                writer.write(PROBE)
                await asyncio.sleep(0)
            assert node.face.told_ok == 0
            writer.close()

    asyncio.run(story())


def test_who_does_not_hang_up_on_the_agent_is_hung_up_on():
    async def story():
        async with health_node(limits=HASTY) as node:
            await node.server.start_agent(("127.0.0.1", 0))
            reader, writer = await asyncio.open_connection(*node.server.addresses[1])
            assert await asyncio.wait_for(reader.read(), LIMIT) == b"ready up 100%\n"
            assert len(node.server.connections) == 1
            await until(lambda: len(node.server.connections) == 0)
            writer.close()

    asyncio.run(story())


def test_who_resets_the_connection_while_it_is_answered_is_no_news():
    async def story():
        async with health_node() as node:
            for _ in range(50):
                _, writer = await node.connect()
                linger_for_0_seconds = b"\1\0\0\0\0\0\0\0"
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_0_seconds)
                writer.write(PROBE * 16)
                writer.transport.abort()
            assert await node.is_answered()
            await until(lambda: len(node.server.connections) == 0)

    asyncio.run(story())


def test_what_the_api_cannot_read_is_counted_and_not_logged():
    async def story():
        async with health_node(app=echo_app()) as node:
            for bad in (
                b"GET /api HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"GET /api HTTP/1.1\nHost: a\n\n",
                b"POST /api HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
                b"GET /api HTTP/1.1\r\nHost: a\r\n\r\nGET /\xff HTTP/1.1\r\n\r\n",
            ):
                before = node.server.connections.refusals[ConnectionRefusal.UNREADABLE_FOR_API]
                assert b" 400 " in await node.ask(bad)
                assert node.server.connections.refusals[ConnectionRefusal.UNREADABLE_FOR_API] == before + 1

    asyncio.run(story())


pieces = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [*PROBES.values(), V1_TCP4, V2_LOCAL, b"\r\n", b"\n", b"GET ", b"Host: a\r\n", b"Connection: close\r\n"]
    ),
    st.sampled_from(
        [b"GET /api HTTP/1.1\r\n", b"POST /api HTTP/1.1\r\n", b"Content-Length: 5\r\n", b"\0" * 300, b"A: b\r\n" * 2000]
    ),
)


@pytest.mark.parametrize("app", [lambda: None, echo_app])
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=st.lists(pieces, max_size=8).map(b"".join), cuts=st.lists(st.integers(1, 400), max_size=8))
def test_whatever_comes_in_whatever_pieces_is_answered_or_closed_and_nobody_else_notices(app, stream, cuts):
    async def story():
        troubles = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        async with health_node(app=app()) as node:
            reader, writer = await node.connect()
            rest = stream
            # What is sent after a request that closes meets a closed door.
            with suppress(OSError):
                for cut in (*cuts, len(rest)):
                    writer.write(rest[:cut])
                    await writer.drain()
                    await asyncio.sleep(0)
                    rest = rest[cut:]
                writer.write_eof()
                await asyncio.wait_for(reader.read(), LIMIT)
            writer.close()
            assert await node.is_answered()
            await until(lambda: len(node.server.connections) == 0)
        assert troubles == []

    asyncio.run(story())
