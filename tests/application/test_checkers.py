"""The probes against real servers, good and bad ones, and the task that runs them."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web
from running_checks import running_checks
from waiting import until

from hcsidecar.application.checkers import http, tcp
from hcsidecar.application.checking import Checking
from hcsidecar.core.farmfile.farm_file import HttpCheck, StatusRange, TcpCheck
from hcsidecar.farmfile.places import Places
from hcsidecar.system.blocking_calls import BlockingCalls

REFUSED = "connection refused"

PLACES = Places.beside(Path("/etc/hcsidecar/farm.toml"))


def tcp_check(port, **options):
    return TcpCheck(type="tcp", name="TCP", address="127.0.0.1", port=port, **options)


def http_check(port, **options):
    return HttpCheck(type="http", name="HTTP", address="127.0.0.1", port=port, **options)


def statuses(*ranges):
    return tuple(StatusRange(first, last) for first, last in ranges)


@contextlib.asynccontextmanager
async def serving(handle, host="127.0.0.1"):
    """Run a server of a few lines; gives its port. Every connection is closed when the test is over."""
    writers = []

    async def connected(reader, writer):
        writers.append(writer)
        with contextlib.suppress(OSError):
            await handle(reader, writer)

    server = await asyncio.start_server(connected, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def site(*routes):
    """Run a real aiohttp server; gives its port."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def bound(backlog=None):
    """Hold a port, listening or not; gives the port."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        if backlog is not None:
            holder.listen(backlog)
        yield holder.getsockname()[1]


def knock(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def answering(data):
    """Make a server that takes a request and sends these bytes."""

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        writer.close()

    return handle


async def ask(check):
    async with http.open_session() as session, asyncio.timeout(10):
        return await http.HttpProbe(check, session, BlockingCalls("check")).probe()


def outcome(handle, **options):
    """Give what the http check says of a server."""

    async def scene():
        async with serving(handle) as port:
            return await ask(http_check(port, **options))

    return asyncio.run(scene())


# TCP


def test_a_port_that_accepts_connections_passes():
    with bound(backlog=5) as port:
        assert asyncio.run(tcp.probe(tcp_check(port))) is None


def test_a_port_that_nobody_listens_on_is_refused():
    with bound() as port:
        assert asyncio.run(tcp.probe(tcp_check(port))) == REFUSED


def test_an_ipv6_port_can_be_checked():
    async def scene():
        async with serving(answering(b""), host="::1") as port:
            return await tcp.probe(TcpCheck(type="tcp", name="TCP", address="::1", port=port))

    assert asyncio.run(scene()) is None


def test_a_probe_that_meets_itself_has_not_met_a_server():
    """The kernel may give a connection the very port that it goes to; here by asking for it."""

    class Loop(asyncio.SelectorEventLoop):
        async def sock_connect(self, sock, address):
            sock.bind(address)
            await super().sock_connect(sock, address)

    with bound() as port:
        pass
    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(tcp.probe(tcp_check(port))) == REFUSED


def test_the_probe_hangs_up():
    ends = []

    async def handle(reader, writer):
        ends.append(await reader.read())

    async def scene():
        async with serving(handle) as port:
            await tcp.probe(tcp_check(port))
            await until(lambda: ends, what="end of the connection")

    asyncio.run(scene())
    assert ends == [b""]


# HTTP


def test_a_real_web_server_passes():
    async def welcome(request):
        return web.Response(text="Welcome to Apache")

    async def scene():
        async with site(web.get("/", welcome)) as port:
            return await ask(http_check(port)), await ask(http_check(port, body="Welcome"))

    assert asyncio.run(scene()) == (None, None)


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_nginx_passes(tmp_path):
    with bound() as port:
        pass
    (tmp_path / "index.html").write_text("Welcome")
    (tmp_path / "nginx.conf").write_text(
        f"""daemon off; master_process off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;
        events {{}}
        http {{ access_log {tmp_path}/access.log; client_body_temp_path {tmp_path}/a; proxy_temp_path {tmp_path}/b;
        fastcgi_temp_path {tmp_path}/c; uwsgi_temp_path {tmp_path}/d; scgi_temp_path {tmp_path}/e;
        server {{ listen 127.0.0.1:{port}; root {tmp_path}; }} }}"""
    )
    nginx = subprocess.Popen(
        ["nginx", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    async def scene():
        await until(lambda: knock(port), limit=10, what="nginx")
        return [
            await ask(http_check(port, path="/index.html", body="Welcome", status=statuses((200, 200)))),
            await ask(http_check(port, path="/missing")),
        ]

    try:
        assert asyncio.run(scene()) == [None, "status 404 instead of 200-399"]
    finally:
        nginx.kill()
        nginx.wait()
    assert f"hcsidecar/{http.__version__}" in (tmp_path / "access.log").read_text()


def test_the_request_is_a_plain_get_that_names_its_host():
    heads = []

    async def handle(reader, writer):
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def scene():
        async with serving(handle) as port:
            await ask(http_check(port, path="/a%20b/%2e;c"))
            await ask(http_check(port, host="www.example.com"))
            return port

    port = asyncio.run(scene())
    assert heads[0].startswith(f"GET /a%20b/%2e;c HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n")
    assert "Accept-Encoding: identity\r\n" in heads[0]
    assert "Host: www.example.com\r\n" in heads[1]
    assert heads[1].lower().count("host:") == 1


def test_every_probe_comes_on_a_connection_of_its_own_and_closes_it():
    ends = []

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
        ends.append(await reader.read())

    async def scene():
        async with asyncio.timeout(10), serving(handle) as port, http.open_session() as session:
            for _ in range(3):
                assert await http.HttpProbe(http_check(port), session, BlockingCalls("check")).probe() is None
            await until(lambda: len(ends) == 3, what="end of the connections")

    asyncio.run(scene())


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_in_the_environment_is_not_asked(monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    assert outcome(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) is None


def test_a_redirect_is_an_answer_and_not_followed():
    asked = []

    async def handle(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /else\r\nContent-Length: 0\r\n\r\n")

    assert outcome(handle) is None
    assert outcome(handle, status=statuses((200, 299))) == "status 302 instead of 200-299"
    assert len(asked) == 2


def test_cookies_are_not_kept():
    heads = []

    async def handle(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")

    async def scene():
        async with serving(handle) as port, http.open_session() as session:
            probe = http.HttpProbe(http_check(port, host="example.com"), session, BlockingCalls("check")).probe
            await probe()
            await probe()

    asyncio.run(scene())
    assert b"cookie" not in heads[1].lower()


@pytest.mark.parametrize(
    ("status", "good", "reason"),
    [
        ("200 OK", statuses((200, 200)), None),
        ("204 No Content", statuses((200, 200), (204, 204)), None),
        ("500 Oh", statuses((200, 399)), "status 500 instead of 200-399"),
        ("503 Oh", statuses((200, 200), (300, 302)), "status 503 instead of 200, 300-302"),
        ("401 Who", statuses((401, 401)), None),
    ],
)
def test_the_status_decides(status, good, reason):
    assert outcome(answering(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()), status=good) == reason


MISSING = "'Welcome' is not in the answer"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"... Welcome ...", None),
        (b"Goodbye", MISSING),
        (b"", MISSING),
        (b"x" * (http.READ_LIMIT - 7) + b"Welcome", None),
        (b"x" * (http.READ_LIMIT - 6) + b"Welcome", MISSING),
    ],
    ids=["there", "not there", "empty", "at the limit", "beyond the limit"],
)
def test_the_text_must_occur_at_the_beginning_of_the_answer(body, reason):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert outcome(answering(head + body), body="Welcome") == reason


def test_a_text_that_comes_in_pieces_is_found():
    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for letter in "… Grüß Gott …":
            data = letter.encode()
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    assert outcome(handle, body="Grüß Gott") is None


def test_of_a_huge_body_little_is_read():
    sent = SimpleNamespace(bytes=0)

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while sent.bytes < 500_000_000:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent.bytes += 65536

    assert outcome(handle, body="Welcome") == MISSING
    assert sent.bytes < 50_000_000


def test_a_body_nobody_asked_for_is_not_waited_for():
    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await asyncio.Event().wait()

    async def scene():
        async with serving(handle) as port:
            return await ask(http_check(port))

    assert asyncio.run(scene()) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "connection closed without an answer"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)), "no answer that is HTTP"),
        (b"220 mail.example.com ESMTP\r\n", "no answer that is HTTP"),
        (b"HTTP/1.1 two hundred\r\n\r\n", "no answer that is HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", "no answer that is HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", "no answer that is HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", "no answer that is HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "answer broken off"),
    ],
    ids=["nothing", "TLS", "SMTP", "no status", "no length", "long header", "many headers", "short"],
)
def test_what_is_no_proper_answer_is_a_failure_with_a_reason(answer, reason):
    assert outcome(answering(answer), body="Welcome") == reason


def test_a_body_that_breaks_the_protocol_is_a_failure():
    broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    # Which of the two depends on whether head and body are read together.
    assert outcome(answering(broken), body="Welcome") in ("answer broken off", "no answer that is HTTP")


def test_a_connection_that_is_reset_is_a_failure():
    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    assert outcome(handle) == "connection reset by peer"


def test_a_web_server_that_is_not_there_is_refused():
    with bound() as port:
        assert asyncio.run(ask(http_check(port))) == REFUSED


# Running them


async def forever(reader, writer):
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def checking(*checks):
    """Run checks; gives them, and the list of what they report."""
    reports = []
    async with running_checks(*checks, report=lambda *report: reports.append(report)) as running:
        yield running, reports


def test_nothing_is_checked_before_a_round_begins_and_after_it_ends():
    async def scene():
        async with (
            serving(forever) as port,
            checking(tcp_check(port, interval=0.01)) as (running, reports),
            checking(tcp_check(port, interval=0.01)) as (other, others),
        ):
            other.begin(1)
            await until(lambda: len(others) >= 5, what="five attempts of another")
            assert reports == []
            running.begin(1)
            await until(lambda: len(reports) >= 3, what="three attempts")
            running.begin(None)
            reports.clear()
            others.clear()
            await until(lambda: len(others) >= 5, what="five attempts of another")
            assert reports == []

    asyncio.run(scene())


def test_a_round_begins_with_an_attempt_at_once():
    async def scene():
        with bound(backlog=5) as port:
            async with checking(tcp_check(port, interval=3600)) as (running, reports):
                running.begin(1)
                await until(lambda: reports, what="the first attempt")
                running.begin(2)
                await until(lambda: len(reports) == 2, what="the first attempt of the second round")

    asyncio.run(scene())


def test_rise_and_fall_begin_anew_with_every_round():
    async def scene():
        with bound(backlog=5) as port:
            async with checking(tcp_check(port, interval=0.01, rise=3)) as (running, reports):
                running.begin(1)
                await until(lambda: ("TCP", None) in reports, what="passing")
                reports.clear()
                running.begin(2)
                await until(lambda: ("TCP", None) in reports, what="passing again")
        assert reports[:3] == [("TCP", "not passed yet"), ("TCP", "not passed yet"), ("TCP", None)]

    asyncio.run(scene())


def test_a_hanging_probe_fails_at_its_timeout_and_is_tried_again():
    async def scene():
        async with (
            serving(forever) as port,
            checking(http_check(port, timeout=0.05, interval=0.01)) as (running, reports),
        ):
            running.begin(1)
            await until(lambda: len(reports) >= 3, what="three attempts")
        assert set(reports) == {("HTTP", "no answer within 50ms")}

    asyncio.run(scene())


def test_a_slow_body_counts_against_the_timeout():
    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    async def scene():
        async with serving(drip) as port:
            check = http_check(port, timeout=0.2, interval=3600, body="Welcome")
            async with checking(check) as (running, reports):
                running.begin(1)
                await until(lambda: reports, what="the attempt")
        assert reports == [("HTTP", "no answer within 200ms")]

    asyncio.run(scene())


def test_a_full_backlog_that_swallows_the_connection_fails_at_the_timeout():
    async def scene():
        with bound(backlog=0) as port, contextlib.ExitStack() as clients:
            # Fill the queue of connections that nobody accepts.
            for _ in range(8):
                client = clients.enter_context(socket.socket())
                client.settimeout(0)
                client.connect_ex(("127.0.0.1", port))
            async with checking(tcp_check(port, timeout=0.1, interval=3600)) as (running, reports):
                running.begin(1)
                await until(lambda: reports, what="the attempt")
        assert reports == [("TCP", "no answer within 100ms")]

    asyncio.run(scene())


def test_a_hanging_check_delays_no_other():
    async def scene():
        async with serving(forever) as port:
            checks = http_check(port, timeout=600), tcp_check(port, interval=0.01)
            async with checking(*checks) as (running, reports):
                running.begin(1)
                await until(lambda: len(reports) >= 5, what="five attempts of the other")
        assert set(reports) == {("TCP", None)}

    asyncio.run(scene())


def test_a_hanging_check_does_not_delay_a_new_round():
    async def scene():
        async with (
            serving(forever) as port,
            checking(http_check(port, timeout=600), tcp_check(port)) as (running, reports),
        ):
            running.begin(1)
            await until(lambda: len(reports) == 1, what="the first round")
            running.begin(2)
            await until(lambda: len(reports) == 2, what="the second round")

    asyncio.run(scene())


def test_a_check_never_runs_beside_itself():
    most = SimpleNamespace(open=0, ever=0)

    async def handle(reader, writer):
        most.open += 1
        most.ever = max(most.ever, most.open)
        await reader.read()
        most.open -= 1

    async def scene():
        async with (
            serving(handle) as port,
            checking(http_check(port, timeout=0.05, interval=0.01)) as (running, reports),
        ):
            for number in range(5):
                running.begin(number)
                await until(lambda: most.open, what="a connection")
            reports.clear()
            await until(lambda: len(reports) >= 4, what="four attempts")

    asyncio.run(scene())
    # The server may learn of an end only after the next connection.
    assert most.ever <= 2


def test_an_application_that_goes_and_comes_back_is_seen_to():
    async def scene():
        holder = socket.socket()
        holder.bind(("127.0.0.1", 0))
        async with checking(http_check(holder.getsockname()[1], interval=0.01)) as (running, reports):
            running.begin(1)
            await until(lambda: reports, what="the first attempt")
            assert reports[-1] == ("HTTP", REFUSED)
            server = await asyncio.start_server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), sock=holder)
            await until(lambda: reports[-1] == ("HTTP", None), what="passing")
            server.close()
            await server.wait_closed()
            await until(lambda: reports[-1] == ("HTTP", REFUSED), what="failing")

    asyncio.run(scene())


def test_our_own_bug_ends_the_checking_instead_of_being_hidden():
    def broken(name, complaint):
        raise ZeroDivisionError

    async def scene():
        with bound(backlog=1) as port:
            running = Checking([tcp_check(port)], report=broken, places=PLACES, environment={})
            running.begin(1)
            with pytest.raises(ExceptionGroup) as caught:
                await running.run()
        assert caught.group_contains(ZeroDivisionError)

    asyncio.run(scene())


def test_a_farm_without_checks_has_nothing_to_run():
    async def scene():
        async with checking() as (running, reports):
            running.begin(1)
            running.begin(None)
        assert reports == []

    asyncio.run(scene())
