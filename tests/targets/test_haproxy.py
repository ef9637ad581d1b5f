"""This node in a backend of a real HAProxy, which probes a real health URL."""

import asyncio
import os
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random

import pytest
from api_nodes import closed_port
from haproxy import BACKEND, haproxy, needs_haproxy
from health_node import DOWN, OK, health_node, tls_contexts
from waiting import on_a_loop, until

from hcsidecar.core.application.states import Word
from hcsidecar.core.farmfile.target_tables import HaproxyTarget
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.registration import Observation, Presence, TargetError, Trouble
from hcsidecar.targets.haproxy import KIND
from hcsidecar.targets.kind import Here
from hcsidecar.targets.targets import Targets

LIMIT = 10.0
STATIC = "backend farm\n    option httpchk GET /health\n    server web1 127.0.0.1:{port} check inter 100ms {more}\n"


def here_of(tmp_path, **changes):
    here = Here(
        farm="apache",
        node="web1",
        address="127.0.0.1",
        addresses={"web1": "127.0.0.1"},
        health_port=9,
        health_tls=False,
        health_path="/health",
        directory=tmp_path,
        state_dir=tmp_path,
    )
    return replace(here, **changes)


def balancer(tmp_path, port=80, *, here=None, **keys):
    table = {"type": "haproxy", "socket": str(tmp_path / "haproxy.sock"), "backend": "farm", "port": port} | keys
    return KIND.open(HaproxyTarget.model_validate(table), here or here_of(tmp_path))


async def comes_to(side, presence, *, reason=""):
    seen = None
    async with asyncio.timeout(LIMIT):
        while seen is None or seen.presence is not presence or reason not in seen.reason:
            seen = await side.observe()
            await asyncio.sleep(0.02)
    return seen


@asynccontextmanager
async def farm(tmp_path, backend=BACKEND, **keys):
    """A node with a health URL, HAProxy, and the node's side of it; traffic goes to the health URL as well."""
    async with health_node() as node, haproxy(tmp_path, backend.format(directory=tmp_path)) as proxy:
        port = node.address[1]
        keys = {"options": f"check port {port} inter 50ms fall 2 rise 1"} | keys
        side = balancer(tmp_path, port, here=here_of(tmp_path, health_port=port), **keys)
        yield node, proxy, side


@asynccontextmanager
async def slow_server():
    """A server that begins an answer, and ends it when told to."""
    end = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nbegun")
        await end.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], end
    finally:
        end.set()
        server.close()


async def ask(tmp_path):
    reader, writer = await asyncio.open_unix_connection(tmp_path / "clients.sock")
    writer.write(b"GET /slow HTTP/1.0\r\n\r\n")
    await asyncio.wait_for(reader.readuntil(b"begun"), LIMIT)
    return reader, writer


@needs_haproxy
@on_a_loop
async def test_a_server_is_added_and_probed_and_deleted_and_added_again(tmp_path):
    async with farm(tmp_path) as (node, proxy, side):
        for _ in range(2):
            assert (await side.observe()).presence is Presence.ABSENT
            await side.register()
            await comes_to(side, Presence.HEALTHY, reason="L7OK/200")
            await side.register()
            node.say(DOWN)
            await comes_to(side, Presence.UNHEALTHY, reason="L7OKC/404")
            node.say(OK)
            await comes_to(side, Presence.HEALTHY, reason="L7OK/200")
            await side.deregister()
            assert "web1" not in await proxy.command("show servers state farm")
            await side.deregister()


@needs_haproxy
@on_a_loop
async def test_a_new_server_is_pending_until_its_first_check(tmp_path):
    keys = {"options": "check port 9 inter 1h"}
    async with farm(tmp_path, **keys) as (_, proxy, side):
        await side.register()
        seen = await side.observe()
        # The first check comes soon, whatever the interval; a busy machine may show it already.
        assert seen.presence in (Presence.PENDING, Presence.UNHEALTHY, Presence.HEALTHY)
        assert (await proxy.server())["check_status"]


@needs_haproxy
@on_a_loop
async def test_what_goes_on_may_end_before_the_server_is_deleted(tmp_path):
    async with farm(tmp_path) as (_, proxy, _), slow_server() as (port, end):
        side = balancer(tmp_path, port, options="check")
        await side.register()
        reader, writer = await ask(tmp_path)
        await side.deregister()
        seen = await side.observe()
        assert (seen.presence, seen.reason, seen.former) == (Presence.DRAINING, "1 session left", ())
        await side.retire()
        assert (await proxy.server())["status"].startswith("DRAIN")
        end.set()
        await asyncio.wait_for(reader.read(), LIMIT)
        writer.close()
        seen = await comes_to(side, Presence.DRAINING, reason="no session left")
        assert seen.former == ("server farm/web1",)
        await side.retire()
        assert (await side.observe()).presence is Presence.ABSENT


@needs_haproxy
@on_a_loop
async def test_the_loop_deletes_what_it_has_drained_once_nobody_is_left_and_adds_it_again(tmp_path):
    async with haproxy(tmp_path, BACKEND.format(directory=tmp_path)) as proxy, slow_server() as (port, end):
        table = {"type": "haproxy", "socket": str(tmp_path / "haproxy.sock"), "backend": "farm", "port": port}
        tables = [HaproxyTarget.model_validate(table | {"options": "check"})]
        events = []
        targets = Targets(
            tables,
            here_of(tmp_path),
            open_balancer=KIND.open,
            chance=Random(1),
            tell=lambda event: events.append(event.message),
            backoff=lambda _: Backoff(poll=0.2, hold_up=0.0, soon=0.05),
        )

        async def comes_to_be(presence):
            await until(lambda: targets.status()[0].observed == presence, limit=LIMIT, what=presence)

        async with asyncio.TaskGroup() as tasks:
            running = targets.begin(tasks)
            targets.follow(Situation(word=Word.START, ready=True, in_view=True))
            await comes_to_be("healthy")
            reader, writer = await ask(tmp_path)
            targets.follow(Situation(word=Word.LEAVE))
            await comes_to_be("draining")
            # For the person who waits this is all: nothing new comes.
            await until(lambda: not targets.unfinished, limit=LIMIT)
            assert (await proxy.server())["scur"] == "1"
            end.set()
            await asyncio.wait_for(reader.read(), LIMIT)
            writer.close()
            await comes_to_be("absent")
            assert "web1" not in await proxy.command("show servers state farm")
            targets.follow(Situation(word=Word.START, ready=True, in_view=True))
            await comes_to_be("healthy")
            for task in running:
                task.cancel()
        assert "farm: deregistered the former identities of this node: server farm/web1" in events
        assert not any("somebody else" in event for event in events)


@needs_haproxy
@on_a_loop
async def test_a_session_that_comes_between_look_and_deletion_leaves_the_server_in_drain_and_not_in_maintenance(
    tmp_path,
):
    async with farm(tmp_path) as (_, proxy, _), slow_server() as (port, _):
        side = balancer(tmp_path, port, options="check")
        await side.register()
        _, writer = await ask(tmp_path)
        # What `deregister` sends when its look has shown nobody.
        line = "set server farm/web1 state maint; del server farm/web1; set server farm/web1 state drain"
        await proxy.command(line)
        assert (await side.observe()).presence is Presence.DRAINING
        writer.close()


@needs_haproxy
@on_a_loop
async def test_a_drained_server_that_is_still_there_is_made_ready_again(tmp_path):
    async with farm(tmp_path) as (_, proxy, side):
        await side.register()
        await proxy.command("set server farm/web1 state drain")
        assert (await side.observe()).presence is Presence.DRAINING
        await side.register()
        await comes_to(side, Presence.HEALTHY)


@needs_haproxy
@on_a_loop
async def test_a_server_of_this_nodes_name_elsewhere_is_moved_here(tmp_path):
    async with farm(tmp_path, options=None) as (node, proxy, side):
        await proxy.command("add server farm/web1 127.0.0.9:7 check port 7; enable health farm/web1")
        await proxy.command("set server farm/web1 state ready")
        seen = await side.observe()
        assert (seen.presence, seen.former) == (Presence.ABSENT, ("server at 127.0.0.9 port 7",))
        await side.register()
        await comes_to(side, Presence.HEALTHY, reason="L7OK/200")
        assert str(node.address[1]) in await proxy.command("show servers conn farm")


@needs_haproxy
@on_a_loop
async def test_a_former_place_of_this_node_is_deleted_when_it_leaves(tmp_path):
    async with farm(tmp_path) as (_, proxy, side):
        await proxy.command("add server farm/web1 127.0.0.9:7; set server farm/web1 state ready")
        await side.retire()
        assert await side.observe() == await balancer(tmp_path).observe()
        assert "web1" not in await proxy.command("show servers state farm")


@needs_haproxy
@pytest.mark.parametrize("servers", ["dynamic", "static"])
@on_a_loop
async def test_maintenance_by_hand_is_left_alone_whatever_this_node_wants(tmp_path, servers):
    async with farm(tmp_path, BACKEND if servers == "dynamic" else STATIC.format(port=9, more=""), servers=servers) as (
        _,
        proxy,
        side,
    ):
        await side.register()
        await proxy.command("set server farm/web1 state maint")
        assert (await side.observe()).presence is Presence.UNUSED
        await side.register()
        assert (await side.observe()).presence is Presence.UNUSED
        await side.deregister()
        assert (await side.observe()).presence is Presence.ABSENT
        assert (await proxy.server())["status"] == "MAINT"
        await side.register()
        assert (await side.observe()).presence is Presence.UNUSED
        await proxy.command("set server farm/web1 state ready")
        assert (await side.observe()).is_there


@needs_haproxy
@on_a_loop
async def test_a_static_server_is_made_ready_and_drained_and_never_deleted(tmp_path):
    async with health_node() as node:
        port = node.address[1]
        config = STATIC.format(port=port, more="disabled")
        async with haproxy(tmp_path, config) as proxy:
            side = balancer(tmp_path, servers="static", here=here_of(tmp_path, health_port=port))
            seen = await side.observe()
            assert (seen.presence, seen.reason) == (Presence.ABSENT, "disabled in HAProxy's configuration")
            await side.deregister()
            await side.register()
            await comes_to(side, Presence.HEALTHY, reason="L7OK/200")
            await side.deregister()
            seen = await side.observe()
            assert (seen.presence, seen.former) == (Presence.DRAINING, ())
            assert (await proxy.server())["status"] == "DRAIN"
            await side.register()
            await comes_to(side, Presence.HEALTHY)


@needs_haproxy
@on_a_loop
async def test_a_static_server_that_is_missing_is_a_matter_for_a_person(tmp_path):
    async with farm(tmp_path, "backend farm", servers="static") as (_, _proxy, side):
        for call in (side.observe, side.register):
            with pytest.raises(TargetError, match="backend farm has no server web1: add one") as error:
                await call()
            assert error.value.trouble is Trouble.CONFIG
        await side.deregister()


@needs_haproxy
@on_a_loop
async def test_a_reload_forgets_an_added_server_and_the_next_registration_brings_it_back(tmp_path):
    async with farm(tmp_path) as (_, proxy, side):
        await side.register()
        await comes_to(side, Presence.HEALTHY)
        assert not (await side.observe()).forgot
        await proxy.reload()
        assert await side.observe() == Observation(presence=Presence.ABSENT, forgot=True)
        assert await side.observe() == Observation(presence=Presence.ABSENT)
        await side.register()
        await comes_to(side, Presence.HEALTHY, reason="L7OK/200")


@needs_haproxy
@on_a_loop
async def test_a_server_that_the_configuration_has_too_is_used_and_outlives_a_reload(tmp_path):
    async with health_node() as node:
        port = node.address[1]
        server = f"    server web1 127.0.0.1:{port} check inter 50ms\n"
        async with haproxy(tmp_path, BACKEND.format(directory=tmp_path) + server) as proxy:
            side = balancer(tmp_path, port, options="check")
            await comes_to(side, Presence.HEALTHY)
            await proxy.reload()
            await comes_to(side, Presence.HEALTHY)
            await side.deregister()
            assert (await side.observe()).presence is Presence.ABSENT
            await proxy.reload()
            assert (await side.observe()).forgot
            await comes_to(side, Presence.HEALTHY)


@needs_haproxy
@on_a_loop
async def test_a_server_that_haproxy_checks_by_tcp_only_is_told(tmp_path):
    async with farm(tmp_path, "backend farm\n    balance roundrobin", options=None) as (_, _proxy, side):
        await side.register()
        await comes_to(side, Presence.HEALTHY, reason="set `option httpchk` in the backend")


@needs_haproxy
@on_a_loop
async def test_a_health_url_behind_tls_is_probed(tmp_path):
    tls, _ = tls_contexts(tmp_path)
    async with health_node(tls=tls) as node, haproxy(tmp_path, BACKEND.format(directory=tmp_path)):
        port = node.address[1]
        side = balancer(tmp_path, port, here=here_of(tmp_path, health_port=port, health_tls=True))
        await side.register()
        await comes_to(side, Presence.HEALTHY, reason="L7OK/200")


@needs_haproxy
@on_a_loop
async def test_the_drain_of_an_agent_is_no_deregistration_and_a_deregistration_silences_the_agent(tmp_path):
    words = [b"up drain\n"]

    async def say(_reader, writer):
        writer.write(words[0])
        writer.close()

    agent = await asyncio.start_server(say, "127.0.0.1", 0)
    port = agent.sockets[0].getsockname()[1]
    more = f"agent-check agent-port {port} agent-inter 100ms"
    try:
        async with farm(tmp_path, STATIC.format(port=9, more=more), servers="static") as (_, proxy, side):
            await comes_to(side, Presence.UNHEALTHY, reason="drained by its agent-check")
            words[0] = b"ready up\n"
            await comes_to(side, Presence.UNHEALTHY, reason="L4CON")
            await side.deregister()
            assert (await side.observe()).presence is Presence.DRAINING
            assert (await proxy.server())["status"].startswith(("DRAIN", "DOWN"))
            await side.register()
            await comes_to(side, Presence.UNHEALTHY, reason="L4CON")
            words[0] = b"up drain\n"
            await comes_to(side, Presence.UNHEALTHY, reason="drained by its agent-check")
    finally:
        agent.close()


@needs_haproxy
@on_a_loop
async def test_an_added_server_may_have_an_agent_and_can_be_deleted_all_the_same(tmp_path):
    async def say(_reader, writer):
        writer.write(b"ready up\n")
        writer.close()

    agent = await asyncio.start_server(say, "127.0.0.1", 0)
    port = agent.sockets[0].getsockname()[1]
    options = f"agent-check agent-port {port} agent-inter 50ms"
    try:
        async with farm(tmp_path, options=options) as (_, _proxy, side):
            await side.register()
            await comes_to(side, Presence.HEALTHY, reason="by its agent-check")
            await side.deregister()
            assert (await side.observe()).presence is Presence.ABSENT
    finally:
        agent.close()


@needs_haproxy
@pytest.mark.parametrize(
    ("backend", "keys", "trouble", "text"),
    [
        ("backend other", {}, Trouble.CONFIG, "HAProxy has no backend farm"),
        ("backend farm\n    balance static-rr", {}, Trouble.CONFIG, "allows no added servers: set `balance"),
        (BACKEND, {"options": "check bogus 7"}, Trouble.CONFIG, "unknown keyword 'bogus'"),
        (BACKEND, {"options": "check inter x"}, Trouble.RETRY, "inter"),
    ],
)
@on_a_loop
async def test_what_haproxy_refuses_is_told_with_the_remedy(tmp_path, backend, keys, trouble, text):
    async with farm(tmp_path, backend, **keys) as (_, _proxy, side):
        with pytest.raises(TargetError) as error:
            await side.register()
        assert (error.value.trouble, text in error.value.text) == (trouble, True), error.value.text


@needs_haproxy
@pytest.mark.parametrize("level", ["user", "operator"])
@on_a_loop
async def test_a_socket_without_level_admin_shows_and_refuses_with_the_remedy(tmp_path, level):
    config = f"global\n    stats socket {tmp_path}/less.sock mode 600 level {level}\n"
    async with farm(tmp_path, BACKEND + config, socket=f"{tmp_path}/less.sock") as (_, _proxy, side):
        assert (await side.observe()).presence is Presence.ABSENT
        with pytest.raises(TargetError, match="needs `level admin`") as error:
            await side.register()
        assert error.value.trouble is Trouble.AUTH
        await balancer(tmp_path, options="check").register()
        with pytest.raises(TargetError, match="needs `level admin`") as error:
            await side.deregister()
        assert error.value.trouble is Trouble.AUTH


@needs_haproxy
@on_a_loop
async def test_the_runtime_api_may_be_a_tcp_port(tmp_path):
    port = closed_port()
    config = f"global\n    stats socket ipv4@127.0.0.1:{port} level admin\n"
    where = {"address": f"127.0.0.1:{port}", "socket": None}
    async with farm(tmp_path, BACKEND + config, **where) as (_, _proxy, side):
        await side.register()
        await comes_to(side, Presence.HEALTHY)


@on_a_loop
async def test_a_socket_that_is_not_there_or_refuses_is_told(tmp_path):
    with pytest.raises(TargetError, match=r"there is no socket .*: does HAProxy run") as error:
        await balancer(tmp_path).observe()
    assert error.value.trouble is Trouble.RETRY
    side = balancer(tmp_path, socket=None, address=f"127.0.0.1:{closed_port()}")
    with pytest.raises(TargetError, match=r"no connection to 127\.0\.0\.1:") as error:
        await side.observe()
    assert error.value.trouble is Trouble.RETRY


@asynccontextmanager
async def answering(tmp_path, answer, *, endless=False):
    """What is no HAProxy, and answers each connection with the same; None: with nothing, for ever."""
    taken = asyncio.Event()

    async def serve(reader, writer):
        try:
            await reader.readline()
            taken.set()
            if answer is None:
                await reader.read()
            while answer:
                writer.write(answer)
                await writer.drain()
                if not endless:
                    break
        except ConnectionError:
            assert endless
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "haproxy.sock")
    try:
        yield taken
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "trouble", "text"),
    [
        (b"", Trouble.RETRY, "has not answered"),
        (b"\xff\x1b[2Jgarbage\n", Trouble.RETRY, "it says: \ufffd [2Jgarbage"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Trouble.CONFIG, "an HTTP server answers there, not the runtime API"),
        (b"1\n# be_id be_name srv_name\n3 farm web1\n\n# pxname,svname,\n", Trouble.RETRY, "makes no sense"),
        (b"Unknown command. Please enter one of the following commands only :\n", Trouble.CONFIG, "2.6 or newer"),
        (b"x" * 100_000, Trouble.RETRY, "does not come to an end"),
    ],
)
@on_a_loop
async def test_what_is_not_an_answer_of_haproxy_is_told(tmp_path, answer, trouble, text):
    async with answering(tmp_path, answer, endless=len(answer) > 1000):
        with pytest.raises(TargetError) as error:
            await asyncio.wait_for(balancer(tmp_path).observe(), LIMIT)
        assert (error.value.trouble, text in error.value.text) == (trouble, True), error.value.text


@on_a_loop
async def test_a_connection_that_breaks_in_an_answer_is_told(tmp_path):
    async def serve(reader, writer):
        await reader.readline()
        writer.write(b"1\n# be_id")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        side = balancer(tmp_path, socket=None, address=f"127.0.0.1:{port}")
        with pytest.raises(TargetError, match="broke: connection reset by peer") as error:
            await side.observe()
        assert error.value.trouble is Trouble.RETRY
    finally:
        server.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else for a moment")
@on_a_loop
async def test_a_socket_of_somebody_else_is_told_with_the_remedy(tmp_path):
    async with answering(tmp_path, b""):
        (tmp_path / "haproxy.sock").chmod(0o600)
        os.seteuid(65534)
        try:
            with pytest.raises(TargetError, match=r"may not open .*: give its group or user") as error:
                await balancer(tmp_path).observe()
        finally:
            os.seteuid(0)
        assert error.value.trouble is Trouble.AUTH


@on_a_loop
async def test_a_call_to_a_haproxy_that_hangs_can_be_given_up(tmp_path):
    async with answering(tmp_path, None) as taken:
        call = asyncio.create_task(balancer(tmp_path).observe())
        await asyncio.wait_for(taken.wait(), LIMIT)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
