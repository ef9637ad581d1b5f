import asyncio
import ssl

import pytest
from health_node import DOWN, DRAINING, LIMIT, LONG_ANSWER, OK, echo_app, health_node, read_answer, tls_contexts
from probes import CLOSING, PROBES, STAYING, V1_TCP4, V2_LOCAL, V2_TCP4_WITH_AWS_TLV
from waiting import until

from hcsidecar.core.health import HealthAnswer, HealthFace
from hcsidecar.web.connections import Limits
from hcsidecar.web.listener import HealthServer, ListenError
from hcsidecar.web.refusals import ConnectionRefusal

APPS = {"health only": lambda: None, "health and API": echo_app}


def is_body_alone(probe):
    return b"HTTP/" not in probe


def check(answer, probe, *, ok):
    body = b"OK\n" if ok else b"NOT FOUND\n"
    if is_body_alone(probe):
        assert answer == body
        return
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == (b"200" if ok else b"404")
    assert b"\r\nCache-Control: no-store" in head
    assert b"\r\nX-Farm-Node: web1" in head
    assert rest == (b"" if b"HEAD" in probe else body)


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("name", CLOSING)
def test_a_probe_that_stays_not_is_answered_and_closed(name, app):
    async def story():
        async with health_node(app=APPS[app]()) as node:
            check(await node.ask(CLOSING[name]), CLOSING[name], ok=True)
            node.say(DOWN)
            check(await node.ask(CLOSING[name]), CLOSING[name], ok=False)
            assert (node.face.told_ok, node.face.told_not_found) == (1, 1)
            assert not node.server.connections.refusals

    asyncio.run(story())


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("name", STAYING)
def test_a_probe_that_stays_is_answered_again_and_again(name, app):
    async def story():
        async with health_node(app=APPS[app]()) as node:
            reader, writer = await node.connect()
            for answer in (OK, DOWN, DRAINING, OK):
                node.say(answer)
                writer.write(STAYING[name])
                check(await read_answer(reader), STAYING[name], ok=answer.ok)
            writer.close()

    asyncio.run(story())


@pytest.mark.parametrize("name", PROBES)
def test_a_probe_that_comes_byte_by_byte_is_answered(name):
    async def story():
        async with health_node() as node:
            reader, writer = await node.connect()
            for byte in PROBES[name]:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
            check(await asyncio.wait_for(reader.read(), LIMIT), PROBES[name], ok=True)
            writer.close()

    asyncio.run(story())


def test_requests_that_come_together_are_answered_in_order():
    async def story():
        async with health_node() as node:
            probe = b"GET /health HTTP/1.1\r\n\r\n"
            answer = await node.ask(probe + b"HEAD /health HTTP/1.1\r\n\r\n" + b"OPTIONS / HTTP/1.0\r\n\r\n")
            heads = [line for line in answer.split(b"\r\n") if b"HTTP/1." in line]
            assert heads == [b"HTTP/1.1 200 OK", b"OK\nHTTP/1.1 200 OK", b"HTTP/1.0 200 OK"]

    asyncio.run(story())


def test_whatever_follows_a_body_is_not_taken_for_a_request():
    async def story():
        async with health_node() as node:
            smuggled = b"GET /health HTTP/1.1\r\nContent-Length: 25\r\n\r\nGET /health HTTP/1.1\r\n\r\n\r\n"
            answer = await node.ask(smuggled)
            assert answer.count(b"HTTP/1.1 200 OK") == 1
            assert b"\r\nConnection: close\r\n" in answer
            assert node.face.told_ok == 1

    asyncio.run(story())


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"TRACE", b"PATCH"])
def test_another_method_on_a_health_path_is_told_which_are_allowed(method, app):
    async def story():
        async with health_node(app=APPS[app]()) as node:
            body = b"x" * 5_000_000
            request = b" /health HTTP/1.1\r\nHost: web1\r\nContent-Length: %d\r\n\r\n" % len(body)
            answer = await node.ask(method + request + body)
            assert answer.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
            assert b"\r\nAllow: GET, HEAD, OPTIONS\r\n" in answer
            assert b"\r\nConnection: close\r\n" in answer
            assert node.face.told_ok == 0

    asyncio.run(story())


@pytest.mark.parametrize(
    "request_line", [b"GET /healthz HTTP/1.0", b"GET / HTTP/1.1", b"POST /api HTTP/1.0", b"GET /x"]
)
def test_a_path_that_is_none_fails_where_only_health_is_answered(request_line):
    """A probe of a mistyped path must fail even while the node is well."""

    async def story():
        async with health_node() as node:
            answer = await node.ask(request_line + b"\r\nConnection: close\r\n\r\n")
            assert answer.endswith(b"UNKNOWN PATH\n")
            assert answer == b"UNKNOWN PATH\n" or b" 404 Not Found\r\n" in answer

    asyncio.run(story())


def test_a_wrong_path_by_head_has_no_body():
    async def story():
        async with health_node() as node:
            assert (await node.ask(b"HEAD /x HTTP/1.0\r\n\r\n")).endswith(b"Cache-Control: no-store\r\n\r\n")

    asyncio.run(story())


def test_what_is_no_probe_reaches_the_api():
    async def story():
        async with health_node(app=echo_app()) as node:
            answer = await node.ask(b"GET /api/v1/status?x=1 HTTP/1.0\r\n\r\n")
            assert answer.endswith(b"GET /api/v1/status 0\n")
            answer = await node.ask(
                V2_LOCAL + b"POST /api HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
            )
            assert answer.endswith(b"POST /api 3\n")

    asyncio.run(story())


def test_a_large_body_reaches_the_api_piece_by_piece():
    async def story():
        async with health_node(app=echo_app()) as node:
            body = b"x" * 900_000
            request = b"POST /api HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            assert (await node.ask(request + body)).endswith(b"POST /api 900000\n")

    asyncio.run(story())


def test_the_api_waits_for_who_reads_slowly():
    async def story():
        async with health_node(app=echo_app()) as node:
            reader, writer = await node.connect(limit=1000)
            writer.write(b"GET /long HTTP/1.0\r\n\r\n")
            await until(lambda: node.server.connections._handed_over)
            (connection,) = node.server.connections._handed_over
            await until(lambda: connection._transport.get_write_buffer_size() > 0)
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT)
            size = 0
            while chunk := await asyncio.wait_for(reader.read(65536), LIMIT):
                assert connection._transport.get_write_buffer_size() < 200_000
                size += len(chunk)
            assert size == LONG_ANSWER
            writer.close()

    asyncio.run(story())


def test_our_own_bug_is_logged(caplog):
    async def story():
        async with health_node(app=echo_app()) as node:
            assert (await node.ask(b"GET /bug HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.0 500 ")
            assert not node.server.connections.refusals

    asyncio.run(story())
    assert "a bug of ours" in caplog.text


def test_a_connection_that_probed_can_go_on_to_the_api_and_probe_again():
    async def story():
        async with health_node(app=echo_app()) as node:
            reader, writer = await node.connect()
            probe = b" /health HTTP/1.1\r\nHost: web1\r\n\r\n"
            writer.write(b"GET" + probe)
            check(await read_answer(reader), b"GET" + probe, ok=True)
            writer.write(b"GET /api HTTP/1.1\r\nHost: web1\r\n\r\n")
            assert (await read_answer(reader)).endswith(b"GET /api 0\n")
            for answer in (DOWN, DRAINING, OK):
                node.say(answer)
                for method in (b"GET", b"HEAD", b"OPTIONS"):
                    writer.write(method + probe)
                    told = await read_answer(reader, bodiless=method == b"HEAD")
                    check(told, method + probe, ok=answer.ok)
                    assert (b"X-Envoy-Immediate-Health-Check-Fail: true" in told) == answer.draining
                    assert (b"Allow: GET, HEAD, OPTIONS" in told) == (method == b"OPTIONS")
            writer.write(b"POST" + probe)
            told = await read_answer(reader)
            assert told.startswith(b"HTTP/1.1 405 ")
            assert b"Allow: GET,HEAD,OPTIONS" in told
            assert (node.face.told_ok, node.face.told_not_found) == (4, 6)
            writer.close()

    asyncio.run(story())


def test_a_request_in_the_same_packet_as_a_probe_reaches_the_api():
    async def story():
        async with health_node(app=echo_app()) as node:
            answer = await node.ask(b"GET /health HTTP/1.1\r\n\r\nGET /api HTTP/1.0\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"GET /api 0\n")

    asyncio.run(story())


def test_the_api_is_not_bothered_with_requests_that_name_no_host():
    async def story():
        async with health_node(app=echo_app()) as node:
            assert (await node.ask(b"GET /api HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 401 Unauthorized\r\n")
            assert node.server.connections.refusals == {ConnectionRefusal.NO_HOST: 1}

    asyncio.run(story())


def test_the_prober_is_known_by_the_address_of_its_connection_and_not_by_its_prefix():
    async def story():
        async with health_node(answer=DOWN) as node:
            await node.ask(CLOSING["HAProxy, check-send-proxy v1"])
            now = asyncio.get_running_loop().time()
            assert node.face.probers.waiting(3, now=now) == ("prober 127.0.0.1 (GET /health)",)

    asyncio.run(story())


@pytest.mark.parametrize("prefix", [b"", V1_TCP4, V2_LOCAL, V2_TCP4_WITH_AWS_TLV])
@pytest.mark.parametrize("in_one_packet", [True, False])
def test_a_prefix_comes_before_tls(tmp_path, prefix, in_one_packet):
    server_tls, client_tls = tls_contexts(tmp_path)

    async def story():
        async with health_node(tls=server_tls, app=echo_app()) as node:
            request = b"GET /health HTTP/1.1\r\nHost: web1\r\nConnection: close\r\n\r\n"
            answer = await speak_tls(node, client_tls, prefix, request, in_one_packet=in_one_packet)
            check(answer, request, ok=True)
            request = b"GET /api HTTP/1.0\r\n\r\n"
            answer = await speak_tls(node, client_tls, prefix, request, in_one_packet=in_one_packet)
            assert answer.endswith(b"GET /api 0\n")
            assert not node.server.connections.refusals

    asyncio.run(story())


async def speak_tls(node, context, prefix, request, *, in_one_packet):
    """Be a TLS client by hand: the last of the handshake shares a packet with the request; prefix and hello may."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    reader, writer = await node.connect()
    try:
        unsent = prefix
        if prefix and not in_one_packet:
            writer.write(unsent)
            unsent = b""
            await until(lambda: node.server._handshakes, what="the handshake's beginning")
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                writer.write(unsent + outgoing.read())
                unsent = b""
                incoming.write(await asyncio.wait_for(reader.read(65536), LIMIT))
        tls.write(request)
        writer.write(outgoing.read())
        answer = b""
        while True:
            try:
                chunk = tls.read(65536)
                if not chunk:
                    return answer
                answer += chunk
            except ssl.SSLWantReadError:
                data = await asyncio.wait_for(reader.read(65536), LIMIT)
                if not data:
                    return answer
                incoming.write(data)
            except ssl.SSLZeroReturnError:
                return answer
    finally:
        writer.close()


def test_a_tls_connection_that_stays_is_answered_again(tmp_path):
    server_tls, client_tls = tls_contexts(tmp_path)

    async def story():
        async with health_node(tls=server_tls) as node:
            reader, writer = await node.connect(ssl=client_tls)
            for answer in (OK, DOWN):
                node.say(answer)
                writer.write(STAYING["Caddy and Traefik"])
                check(await read_answer(reader), STAYING["Caddy and Traefik"], ok=answer.ok)
            writer.close()
            await writer.wait_closed()

    asyncio.run(story())


@pytest.mark.parametrize(
    "not_tls", [b"GET /health HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x00\x05hello", V2_LOCAL + b"GET /", b"PROXY \r\n"]
)
def test_who_speaks_no_tls_is_turned_away_and_counted(tmp_path, not_tls, caplog):
    server_tls, _ = tls_contexts(tmp_path)

    async def story():
        async with health_node(tls=server_tls) as node:
            assert b"OK" not in await node.ask(not_tls)
            assert sum(node.server.connections.refusals.values()) == 1
            assert len(node.server.connections) == 0

    asyncio.run(story())
    assert not caplog.records


def test_ipv6_is_served():
    async def story():
        async with health_node(host="::1") as node:
            assert (await node.ask(b"GET /health\r\n")) == b"OK\n"
            now = asyncio.get_running_loop().time()
            assert node.face.probers.waiting(1, now=now) == ("prober ::1 (GET /health)",)

    asyncio.run(story())


def test_an_address_in_use_is_named_and_none_of_the_call_listens():
    async def story():
        async with health_node() as node:
            other = HealthServer(node.face)
            free = ("127.0.0.1", 0)
            with pytest.raises(
                ListenError, match=rf"cannot listen on 127\.0\.0\.1:{node.address[1]}: another process has"
            ):
                await other.start((free, node.address))
            assert other.addresses == ()
            await node.server.close()
            # What was taken is free again at once, connections in TIME_WAIT or not.
            await other.start((free, node.address))
            assert other.addresses[1] == node.address
            await other.close()

    asyncio.run(story())


def test_an_address_that_is_not_ours_is_named():
    async def story():
        server = HealthServer(HealthFace(farm="apache", path="/health", answer=OK, now=0))
        with pytest.raises(ListenError, match=r"cannot listen on 192\.0\.2\.99:9010: "):
            await server.start((("192.0.2.99", 9010),))
        with pytest.raises(ListenError, match=r"cannot listen on \[2001:db8::99\]:9010: "):
            await server.start((("2001:db8::99", 9010),))

    asyncio.run(story())


def test_closing_ends_every_connection_and_can_be_repeated(tmp_path):
    server_tls, _ = tls_contexts(tmp_path)

    async def story():
        async with health_node(app=echo_app()) as node:
            await node.server.start((("127.0.0.1", 0),), tls=server_tls)
            await node.server.start_agent(("127.0.0.1", 0))
            open_ones = [await asyncio.open_connection(*address) for address in node.server.addresses]
            open_ones[1][1].write(b"\x16")
            _, api = open_api = await node.connect()
            api.write(b"GET /api HTTP/1.1\r\nHost: a\r\n\r\n")
            await read_answer(open_api[0])
            await node.server.close()
            await node.server.close()
            assert len(node.server.connections) == 0
            for reader, writer in (*open_ones, open_api):
                await asyncio.wait_for(reader.read(), LIMIT)
                writer.close()
            with pytest.raises(ConnectionRefusedError):
                await node.connect()

    asyncio.run(story())


@pytest.mark.parametrize("sent", [b"", b"web1\n", b"x" * 50_000])
@pytest.mark.parametrize(
    ("answer", "line"), [(OK, b"ready up 100%\n"), (DRAINING, b"drain up\n"), (DOWN, DOWN.agent_line)]
)
def test_the_agent_says_one_line_and_closes_whatever_it_is_sent(answer, line, sent):
    async def story():
        async with health_node(answer=answer) as node:
            await node.server.start_agent(("127.0.0.1", 0))
            node.address = node.server.addresses[1]
            assert await node.ask(sent) == line

    asyncio.run(story())


def test_who_asks_the_agent_is_a_prober_that_has_been_told_once_it_hangs_up():
    async def story():
        async with health_node() as node:
            await node.server.start_agent(("127.0.0.1", 0))
            node.address = node.server.addresses[1]

            def waiting():
                return node.face.probers.waiting(3, now=asyncio.get_running_loop().time())

            await node.ask(b"web1\n")
            await until(lambda: waiting() == ("prober 127.0.0.1 (agent-check)",))
            node.say(DRAINING)
            reader, writer = await node.connect()
            writer.write(b"web1\n")
            assert await asyncio.wait_for(reader.read(), LIMIT) == b"drain up\n"
            assert waiting() != ()
            writer.close()
            await until(lambda: waiting() == ())

    asyncio.run(story())


def test_who_never_hangs_up_on_the_agent_has_not_been_told():
    async def story():
        async with health_node(limits=Limits(close_timeout=0.01, sweep_interval=0.01)) as node:
            await node.server.start_agent(("127.0.0.1", 0))
            node.address = node.server.addresses[1]
            await node.ask(b"")
            await until(lambda: node.face.probers.waiting(3, now=asyncio.get_running_loop().time()))
            node.say(DRAINING)
            _, writer = await node.connect()
            await until(lambda: len(node.server.connections) == 1)
            await until(lambda: len(node.server.connections) == 0)
            assert node.face.probers.waiting(3, now=asyncio.get_running_loop().time())
            writer.close()

    asyncio.run(story())


def test_a_reason_of_many_lines_stays_one_line():
    async def story():
        answer = HealthAnswer(ok=False, node="web1", state="STOP", reason="one\r\nready up 100%\nthree")
        async with health_node(answer=answer) as node:
            await node.server.start_agent(("127.0.0.1", 0))
            head = await node.ask(b"GET /health HTTP/1.0\r\n\r\n")
            assert b"\r\nX-Farm-Reason: one??ready up 100%?three\r\n" in head
            node.address = node.server.addresses[1]
            assert await node.ask(b"") == b"ready down #STOP: one??ready up 100%?three\n"

    asyncio.run(story())
