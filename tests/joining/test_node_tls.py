"""TLS of a node by the farm's authority, beside plain HTTP on one port: real certificates, sockets and TLS."""

import asyncio
import contextlib
import ssl

import pytest
from aiohttp import web
from health_node import LIMIT, OK, echo_app, health_node, tls_contexts
from waiting import on_a_loop

from hcsidecar.core.joining.names import SERVER_NAME
from hcsidecar.farmfile.certificate_files import AuthorityFiles, node_certificate
from hcsidecar.joining.authority import Authority
from hcsidecar.joining.node_tls import NodeTls, client_context, peer_certificate
from hcsidecar.web.front_door import MOST_BESIDE
from hcsidecar.web.refusals import ConnectionRefusal

PROBE = b"GET /health HTTP/1.0\r\n\r\n"


class Clock:
    def __init__(self):
        self.now = self.wall = 1000.0


def authority(directory):
    Authority.create("apache").write(AuthorityFiles.beside(directory / "farm.key"))


def node(directory, told, **more):
    return NodeTls(
        key_file=directory / "farm.key",
        state_dir=directory / "s",
        identity=lambda: ("web1", ("127.0.0.1",)),
        tell=told.append,
        **more,
    )


@on_a_loop
async def test_a_farm_without_an_authority_has_no_certificate_and_says_nothing(tmp_path):
    told = []
    tls = node(tmp_path, told)
    await tls.look()
    assert (tls.server, tls.client, told) == (None, None, [])


@on_a_loop
async def test_a_certificate_is_made_once_and_again_when_the_authority_changes(tmp_path):
    told, clock = [], Clock()
    tls = node(tmp_path, told, clock=lambda: clock.now, wall_clock=lambda: clock.wall)
    await tls.look()
    authority(tmp_path)
    await tls.look()
    first, message = tls.server, told[0].message
    assert message.startswith("made a certificate for this node, good until 20")
    await tls.look()
    assert tls.server is first
    Authority.create("apache").write(AuthorityFiles.beside(tmp_path / "farm.key"), replace=True)
    await tls.look()
    assert tls.server is not first
    assert len(told) == 2


@on_a_loop
@pytest.mark.parametrize("jump", ["hours", "wall clock"])
async def test_the_age_is_looked_at_after_hours_and_when_the_clock_has_jumped(tmp_path, jump):
    authority(tmp_path)
    clock = Clock()
    tls = node(tmp_path, [], clock=lambda: clock.now, wall_clock=lambda: clock.wall)
    await tls.look()
    first = tls.server
    if jump == "hours":
        clock.now, clock.wall = clock.now + 30_000, clock.wall + 30_000
    else:
        clock.wall += 4000
    await tls.look()
    assert tls.server is not first


@on_a_loop
async def test_what_is_wrong_is_told_once_and_mended_when_it_is_right(tmp_path):
    authority(tmp_path)
    (tmp_path / "ca.key").chmod(0o644)
    told, clock = [], Clock()
    tls = node(tmp_path, told, clock=lambda: clock.now, wall_clock=lambda: clock.wall)
    for _ in range(2):
        await tls.look()
        clock.now, clock.wall = clock.now + 61, clock.wall + 61
    assert [event.message for event in told] == [
        f"no certificate for this node: ca.key can be read by others: {tmp_path}/ca.key (chmod 600 {tmp_path}/ca.key)"
    ]
    (tmp_path / "ca.key").chmod(0o600)
    clock.now, clock.wall = clock.now + 61, clock.wall + 61
    await tls.look()
    assert tls.server is not None


async def ready(directory):
    authority(directory)
    tls = node(directory, [])
    await tls.look()
    return tls


async def ask(node, request, context, name=SERVER_NAME):
    return await node.ask(request, ssl=context, server_hostname=name)


@on_a_loop
async def test_probes_speak_http_and_nodes_speak_tls_on_one_port(tmp_path):
    tls = await ready(tmp_path)
    async with health_node(app=echo_app(), tls_beside=lambda: tls.server) as listener:
        assert await listener.is_answered()
        for name in (SERVER_NAME, "web1", "127.0.0.1"):
            assert (await ask(listener, PROBE, tls.client, name)).endswith(b"OK\n")
        for prefix in (b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n",):
            assert (await listener.ask(prefix + PROBE)).endswith(b"OK\n")
        asked = b"POST /api HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
        assert b"POST /api 3" in await ask(listener, asked, tls.client)


@on_a_loop
async def test_tls_may_begin_behind_a_prefix_that_comes_by_itself(tmp_path):
    tls = await ready(tmp_path)
    async with health_node(tls_beside=lambda: tls.server) as listener:
        reader, writer = await listener.connect()
        writer.write(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 80\r\n")
        await writer.drain()
        await writer.start_tls(tls.client, server_hostname=SERVER_NAME)
        writer.write(PROBE)
        assert (await asyncio.wait_for(reader.read(), LIMIT)).endswith(b"OK\n")
        writer.close()


@pytest.mark.parametrize("operators", [False, True])
@on_a_loop
async def test_a_node_shows_its_certificate_and_anybody_else_need_not(tmp_path, operators):
    tls = await ready(tmp_path)
    certificate, trusting = tls_contexts(tmp_path)
    shown = []

    async def who(request):
        shown.append(peer_certificate(request.transport))
        return web.Response()

    app = web.Application()
    app.router.add_get("/who", who)
    async with health_node(app=app, tls=certificate if operators else None, tls_beside=lambda: tls.server) as listener:
        asked = b"GET /who HTTP/1.0\r\n\r\n"
        await ask(listener, asked, tls.client)
        await ask(listener, asked, client_context(tls.report.authority))
        if operators:
            await ask(listener, asked, trusting, "127.0.0.1")
        else:
            await listener.ask(asked)
    assert shown == [("web1", tls.report.fingerprint), None, None]


@on_a_loop
async def test_a_certificate_of_another_authority_is_refused_by_both_ends(tmp_path):
    (tmp_path / "ours").mkdir()
    (tmp_path / "other").mkdir()
    ours, other = await ready(tmp_path / "ours"), await ready(tmp_path / "other")
    strange = client_context(ours.report.authority)
    strange.load_cert_chain(node_certificate(tmp_path / "other" / "s"))
    async with health_node(tls_beside=lambda: ours.server) as listener:
        with pytest.raises(ssl.SSLCertVerificationError):
            await ask(listener, PROBE, other.client)
        # With TLS 1.3 a client learns only from the first answer that its certificate was refused.
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert await ask(listener, PROBE, strange) == b""
        assert listener.server.connections.refusals[ConnectionRefusal.TLS] == 2
        assert await listener.is_answered()


@on_a_loop
async def test_who_begins_tls_where_there_is_no_certificate_is_refused_as_before():
    async with health_node() as listener:
        assert (await listener.ask(b"\x16\x03\x01\x00\x05hello")).startswith(b"HTTP/1.1 400 ")


@on_a_loop
async def test_the_operators_certificate_is_for_everybody_but_those_who_ask_for_the_farms(tmp_path):
    tls = await ready(tmp_path)
    operators, trusting = tls_contexts(tmp_path)
    async with health_node(tls=operators, tls_beside=lambda: tls.server) as listener:
        assert (await ask(listener, PROBE, trusting, "127.0.0.1")).endswith(b"OK\n")
        assert (await ask(listener, PROBE, tls.client)).endswith(b"OK\n")


@on_a_loop
async def test_the_certificate_is_chosen_when_the_first_bytes_come_one_by_one(tmp_path):
    tls = await ready(tmp_path)
    operators, _ = tls_contexts(tmp_path)
    async with health_node(tls=operators, tls_beside=lambda: tls.server) as listener:
        reader, writer = await listener.connect()
        received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = tls.client.wrap_bio(received, sent, server_hostname=SERVER_NAME)
        for _ in range(9):
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in sent.read():
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0)
                received.write(await asyncio.wait_for(reader.read(65536), LIMIT))
        assert client.getpeercert()["subject"] == ((("commonName", "web1"),),)
        writer.close()


@on_a_loop
async def test_silent_clients_of_tls_take_places_from_themselves_only(tmp_path):
    tls = await ready(tmp_path)
    async with health_node(tls_beside=lambda: tls.server) as listener:
        held = []
        for _ in range(MOST_BESIDE + 5):
            _, writer = await listener.connect()
            writer.write(b"\x16\x03\x01\x02\x00")
            held.append(writer)
            await asyncio.sleep(0)
        answered = await ask(listener, PROBE, tls.client)
        assert answered.endswith(OK.body.encode())
        assert await listener.is_answered()
        assert len(listener.server.connections) <= MOST_BESIDE + 1
        for writer in held:
            writer.close()
