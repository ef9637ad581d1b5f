"""The http check's methods, TLS and patterns, with certificates made by openssl."""

import asyncio
import contextlib
import socket
import ssl
import subprocess

import pytest
from waiting import turns_beside

from hcsidecar.application.checkers import http
from hcsidecar.application.checkers.pattern import count_matches
from hcsidecar.core.farmfile.farm_file import HttpCheck
from hcsidecar.system.blocking_calls import BlockingCalls

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nworkers: 7"


def http_check(port, **options):
    return HttpCheck(type="http", name="HTTP", address="127.0.0.1", port=port, **options)


@contextlib.asynccontextmanager
async def serving(answer=OK, *, tls=None, heads=None):
    """Run a server of a few lines; gives its port."""

    async def connected(reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head.decode())
            writer.write(answer)
            await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def ask(check):
    async with http.open_session() as session, asyncio.timeout(10):
        return await http.HttpProbe(check, session, BlockingCalls("check")).probe()


def outcome(*, answer=OK, server_tls=None, heads=None, **options):
    async def scene():
        async with serving(answer, tls=server_tls, heads=heads) as port:
            return await ask(http_check(port, **options))

    return asyncio.run(scene())


# Methods


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
def test_the_method_is_the_one_that_is_asked_for(method):
    heads = []
    answer = OK.split(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else OK
    assert outcome(answer=answer, heads=heads, method=method) is None
    assert heads[0].startswith(f"{method} / HTTP/1.1\r\n")


def test_a_query_is_sent_as_it_is():
    heads = []
    assert outcome(heads=heads, path="/server-status?auto&x=%20") is None
    assert heads[0].startswith("GET /server-status?auto&x=%20 HTTP/1.1\r\n")


# Patterns


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pattern": "workers: [1-9]"}, None),
        ({"pattern": "^workers: [1-9]$"}, None),
        ({"pattern": "workers: 0"}, "nothing in the answer matches 'workers: 0'"),
        ({"pattern": "workers", "body": "workers: 7"}, None),
        ({"pattern": "workers", "body": "idle"}, "'idle' is not in the answer"),
    ],
)
def test_a_pattern_must_match_somewhere(options, reason):
    assert outcome(**options) == reason


def test_a_hostile_pattern_fails_and_the_loop_goes_on():
    victim = b"a" * 40 + b"b"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 41\r\n\r\n" + victim

    async def scene():
        async with serving(answer) as port:
            return await turns_beside(ask(http_check(port, pattern="(a|aa)+$")), count_matches)

    reason, turns = asyncio.run(scene())
    assert reason == "the pattern takes longer than 1s to look for: make it simpler"
    assert turns >= 10


def test_of_a_huge_answer_the_beginning_is_looked_into():
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
    long = b"x" * http.READ_LIMIT + b"workers: 7" + b"x" * (1_000_000 - http.READ_LIMIT - 10)
    assert outcome(answer=head + long, pattern="workers") == "nothing in the answer matches 'workers'"
    assert outcome(answer=head + long, pattern="x$") is None


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that signs itself, for www.example.com and 127.0.0.1."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=DNS:www.example.com,IP:127.0.0.1"]
    subprocess.run([*make, *names, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


def context(certificate, names=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*certificate)
    if names is not None:
        made.sni_callback = lambda connection, name, context: names.append(name)
    return made


@pytest.fixture
def trusted(certificate, monkeypatch):
    """Let this machine trust it, as an operator would (openssl(1), SSL_CERT_FILE)."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    return certificate


@pytest.mark.parametrize("host", [None, "127.0.0.1", "www.example.com", "www.example.com:8443"])
def test_a_certificate_for_the_host_or_the_address_passes(trusted, host):
    heads = []
    assert outcome(server_tls=context(trusted), tls="on", host=host, heads=heads) is None
    assert host is None or f"Host: {host}\r\n" in heads[0]


def test_the_server_hears_the_name_before_it_shows_its_certificate(trusted):
    names = []
    assert outcome(server_tls=context(trusted, names), tls="on", host="www.example.com:8443") is None
    assert outcome(server_tls=context(trusted, names), tls="unverified", host="other.example.com") is None
    assert outcome(server_tls=context(trusted, names), tls="on") is None
    assert names == ["www.example.com", "other.example.com", None]


def test_a_certificate_for_another_name_fails(trusted):
    reason = outcome(server_tls=context(trusted), tls="on", host="other.example.com")
    assert reason == "certificate: Hostname mismatch, certificate is not valid for 'other.example.com'"


def test_a_certificate_that_nobody_vouches_for_fails_unless_any_will_do(certificate):
    assert outcome(server_tls=context(certificate), tls="on") == "certificate: self-signed certificate"
    assert outcome(server_tls=context(certificate), tls="unverified") is None


def test_a_server_without_tls_is_a_failure_with_a_reason():
    async def scene():
        async def talk(reader, writer):
            writer.write(b"220 mail.example.com ESMTP\r\n")
            with contextlib.suppress(OSError):
                await reader.read()
            writer.transport.abort()

        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        try:
            return await ask(http_check(server.sockets[0].getsockname()[1], tls="on"))
        finally:
            server.close()

    assert asyncio.run(scene()) == "no TLS: wrong version number"


def test_a_server_that_speaks_only_tls_has_no_answer_in_plain(certificate):
    assert outcome(server_tls=context(certificate)) in (
        "connection closed without an answer",
        "connection reset by peer",
        "no answer that is HTTP",
    )


def test_tls_to_a_port_that_nobody_listens_on_is_refused():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        check = http_check(holder.getsockname()[1], tls="unverified")
        assert asyncio.run(ask(check)) == "connection refused"
