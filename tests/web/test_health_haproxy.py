"""Real HAProxy against the real listeners: what it concludes from each kind of check."""

import asyncio
import itertools
from contextlib import asynccontextmanager

import pytest
from daemons import real_farm, wait_for
from haproxy import haproxy, needs_haproxy
from health_node import DOWN, DRAINING, OK, echo_app, health_node, tls_contexts

pytestmark = needs_haproxy

ANSWERS = {"OK": OK, "DOWN": DOWN, "DRAINING": DRAINING}

CHECKS = {
    "option httpchk": ("option httpchk", ""),
    "option httpchk OPTIONS *": ("option httpchk OPTIONS *", ""),
    "option httpchk GET": ("option httpchk GET /health", ""),
    "option httpchk HEAD": ("option httpchk HEAD /health", ""),
    "SafeKit's path": ("option httpchk GET /var/modules/apache/ready.txt", ""),
    "HTTP/1.1 in one line": ("option httpchk GET /health HTTP/1.1\\r\\nHost:\\ web1", ""),
    "HTTP/1.1 by http-check send": (
        "option httpchk\n    http-check send meth GET uri /health ver HTTP/1.1 hdr host web1",
        "",
    ),
    "HEAD by http-check send": ("option httpchk\n    http-check send meth HEAD uri /health ver HTTP/1.1", ""),
    "expect string": ("option httpchk GET /health\n    http-check expect string OK", ""),
    "expect status": ("option httpchk GET /health\n    http-check expect status 200", ""),
    "send-proxy": ("option httpchk GET /health", "send-proxy"),
    "send-proxy-v2": ("option httpchk GET /health", "send-proxy-v2"),
    "check-send-proxy": ("option httpchk GET /health", "check-send-proxy"),
    "an application of HTTP/2": ("option httpchk GET /health", "proto h2 check-proto h1"),
    "send-proxy-v2 with options": ("option httpchk", "send-proxy-v2 proxy-v2-options unique-id,crc32c"),
}
TLS_CHECKS = {
    "check-ssl": ("option httpchk GET /health", "check-ssl verify none"),
    "an application of HTTP/2": ("option httpchk", "check-ssl verify none proto h2 check-proto h1"),
    "check-ssl, send-proxy": ("option httpchk GET /health", "check-ssl verify none send-proxy check-send-proxy"),
    "check-ssl, send-proxy-v2": ("option httpchk", "check-ssl verify none send-proxy-v2 check-send-proxy"),
}


PATIENT = "inter 1s fastinter 50ms downinter 50ms"
"HAProxy gives `inter` to connect, with the handshake: on a busy machine 50 ms are not enough for TLS."


def backend(node, lines="", server="", timing="inter 50ms"):
    host, port = node.address
    return f"""
backend farm
    {lines}
    server web1 {host}:{port} check {timing} fall 2 rise 2 {server}
"""


async def follows(node, balancer):
    await balancer.comes_to("UP")
    for answer, status in ((DOWN, "DOWN"), (OK, "UP"), (DRAINING, "DOWN"), (OK, "UP")):
        node.say(answer)
        await balancer.comes_to(status)
        # HAProxy calls it up before its first check; the answers are what it went by.
        told = node.face.told_ok if answer.ok else node.face.told_not_found
        assert told >= 2
    assert not node.server.connections.refusals


@pytest.mark.parametrize("name", CHECKS)
def test_haproxy_follows_the_answer_by(name, tmp_path):
    async def story():
        async with (
            health_node(app=echo_app()) as node,
            haproxy(tmp_path, backend(node, *CHECKS[name])) as balancer,
        ):
            await follows(node, balancer)

    asyncio.run(story())


@pytest.mark.parametrize("name", TLS_CHECKS)
def test_haproxy_follows_the_answer_over_tls_by(name, tmp_path):
    server_tls, _ = tls_contexts(tmp_path)

    async def story():
        async with (
            health_node(tls=server_tls) as node,
            haproxy(tmp_path, backend(node, *TLS_CHECKS[name], timing=PATIENT)) as balancer,
        ):
            await follows(node, balancer)

    asyncio.run(story())


def test_haproxy_takes_404_for_a_soft_drain_if_told_so(tmp_path):
    async def story():
        lines = "option httpchk GET /health\n    http-check disable-on-404"
        async with health_node() as node, haproxy(tmp_path, backend(node, lines)) as balancer:
            await balancer.comes_to("UP")
            node.say(DRAINING)
            await balancer.comes_to("NOLB")
            node.say(OK)
            await balancer.comes_to("UP")

    asyncio.run(story())


def test_a_check_of_a_path_that_is_none_fails(tmp_path):
    async def story():
        async with health_node() as node, haproxy(tmp_path, backend(node, "option httpchk GET /helth")) as balancer:
            await balancer.comes_to("DOWN")

    asyncio.run(story())


def test_haproxy_checks_by_http_2_where_the_application_speaks_it_unless_told_otherwise(tmp_path):
    async def story():
        lines = "option httpchk GET /health"
        async with health_node() as node, haproxy(tmp_path, backend(node, lines, "proto h2")) as balancer:
            await balancer.comes_to("DOWN")
            assert not node.face.told_ok

    asyncio.run(story())


AGENT_STATUS = {"OK": "UP", "DRAINING": "DRAIN (agent)", "DOWN": "DOWN (agent)"}


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(AGENT_STATUS, 2)])
@pytest.mark.parametrize("send", ["", 'agent-send "web1\\n"'])
def test_each_agent_line_undoes_each_other(first, second, send, tmp_path):
    """HAProxy keeps every word until it is taken back, so a line that says half would leave the other half behind."""

    async def story():
        async with health_node() as node:
            await node.server.start_agent(("127.0.0.1", 0))
            agent = f"agent-check agent-port {node.server.addresses[1][1]} agent-inter 50ms {send}"
            async with haproxy(tmp_path, backend(node, "option tcp-check", agent)) as balancer:
                for name in (first, second, first, second):
                    node.say(ANSWERS[name])
                    await balancer.comes_to(AGENT_STATUS[name])
                node.say(OK)
                await balancer.comes_to("UP")
                assert (await balancer.server())["weight"] == "1"

    asyncio.run(story())


def test_haproxy_shows_the_agents_reason(tmp_path):
    async def story():
        async with health_node(answer=DOWN) as node:
            await node.server.start_agent(("127.0.0.1", 0))
            agent = f"agent-check agent-port {node.server.addresses[1][1]} agent-inter 50ms"
            async with haproxy(tmp_path, backend(node, "option tcp-check", agent)) as balancer:
                await balancer.comes_to("DOWN (agent)")
                assert "HTTP_APACHE: connection refused" in (await balancer.server())["last_agt"]

    asyncio.run(story())


@asynccontextmanager
async def application(address):
    """What answers every request; gives its server, to be closed at the latest at the end."""

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.0 200 OK\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, address, 0)
    try:
        yield server
    finally:
        server.close()


async def ask(directory):
    """Give the status that a client gets."""
    reader, writer = await asyncio.open_unix_connection(directory / "clients.sock")
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    line = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    return line.split()[1]


def test_a_stop_lasts_until_haproxy_has_asked_the_agent_and_no_client_fails(tmp_path):
    config = """
frontend clients
    bind {directory}/clients.sock
    default_backend farm
backend farm
    balance roundrobin
    retries 0
    server web1 127.0.0.1:{one} agent-check agent-addr {agent} agent-port 9011 agent-inter 3s
    server web2 127.0.0.1:{two}
"""

    async def story(farm):
        async with application("127.0.0.1") as one, application("127.0.0.1") as two:
            ports = [each.sockets[0].getsockname()[1] for each in (one, two)]
            lines = config.format(directory=tmp_path, one=ports[0], two=ports[1], agent=farm.addresses["web1"])
            async with haproxy(tmp_path, lines) as balancer:
                seen = None
                async with asyncio.timeout(10):
                    while seen != "L7OK":
                        await asyncio.sleep(0.02)
                        seen = (await balancer.server())["agent_status"]
                stopped = await asyncio.to_thread(farm.cli, "stop", node="web1")
                assert stopped.returncode == 0
                assert "nobody is left" in farm.log("web1")
                one.close()
                assert {await ask(tmp_path) for _ in range(20)} == {b"200"}

    extra = '[health]\nlame_duck = "30s"\nagent_check = "@1:9011"\n'
    with real_farm(tmp_path, names=("web1",), extra=extra) as farm:
        farm.start()
        wait_for(lambda: farm.view("web1") == ["web1"], what="a view")
        asyncio.run(story(farm))
