"""The relay: what it says of nodes that do not do their part, and whom it believes."""

import asyncio
import contextlib
import datetime as dt
import re
import socket
import ssl
import time
from dataclasses import replace

import pytest
from api_nodes import KEYS, ask, closed_port, running, told
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from keys import FixedKeys

from hcsidecar.api.auth import ANSWER_HEADER, Verifier
from hcsidecar.api.control import ApiAddress
from hcsidecar.core.events import Level
from hcsidecar.core.farmfile.values import HostPort


@contextlib.asynccontextmanager
async def impostor(answer, tls=None):
    """Listen like a node; `answer(reader, writer)` is what it does."""

    async def serve(reader, writer):
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def relayed(tmp_path, answer=None, *, question=("GET", "/api/v1/nodes/web2/status"), port=None, tls=False, **settings):
    """Ask for web2, in whose place an impostor listens; give the HTTP status and the reason."""

    async def story():
        async with running(["web1", "web2"], tmp_path, **settings) as nodes, impostor(answer) as found:
            address = HostPort("127.0.0.1", port or found)
            nodes["web1"].control.nodes["web2"] = ApiAddress(address=address, tls=tls)
            status, document = await ask(nodes["web1"], *question)
            return status, document["reason"].replace(str(address), "ADDRESS")

    return asyncio.run(story())


async def hang(reader, writer):
    await reader.read()


async def hang_up(reader, writer):
    await reader.readuntil(b"\r\n\r\n")


async def garbage(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
    await writer.drain()


async def no_tls(reader, writer):
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


async def unsigned(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    await writer.drain()


async def redirect(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


async def endless(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()


async def cut_short(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}")
    await writer.drain()


async def drip(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        for _ in range(100):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (hang, "web2 at ADDRESS does not answer: no complete answer within 0.3 s"),
        (drip, "web2 at ADDRESS does not answer: no complete answer within 0.3 s"),
        (hang_up, "web2 at ADDRESS does not answer: it closed the connection"),
        (cut_short, "web2 at ADDRESS does not answer: the answer is broken off or too long"),
        (endless, "web2 at ADDRESS does not answer: the answer is broken off or too long"),
        (garbage, "web2 at ADDRESS does not answer: what answers there does not speak HTTP"),
        (unsigned, "web2 at ADDRESS is not believed: the answer is not signed: not a node of this farm"),
        (redirect, "web2 at ADDRESS is not believed: the answer is not signed"),
    ],
)
def test_the_relay_says_in_plain_words_what_is_wrong_there(tmp_path, answer, reason):
    limit = 0.3 if answer in (hang, drip) else 5
    status, said = relayed(tmp_path, answer, limit=limit)
    assert status == 502
    assert said.startswith(reason)


def test_the_relay_says_when_an_action_may_have_been_taken_all_the_same(tmp_path):
    question = ("POST", "/api/v1/nodes/web2/actions/stop")
    _, said = relayed(tmp_path, hang, question=question, limit=0.3)
    assert said == "web2 at ADDRESS does not answer: no complete answer within 0.3 s; it may still act on the request"
    _, said = relayed(tmp_path, hang, question=question, port=closed_port())
    assert said == "web2 at ADDRESS does not answer: connection refused"


def test_the_relay_says_that_nobody_listens(tmp_path):
    status, said = relayed(tmp_path, hang, port=closed_port())
    assert (status, said) == (502, "web2 at ADDRESS does not answer: connection refused")


def test_the_relay_says_that_tls_does_not_come_about(tmp_path):
    status, said = relayed(tmp_path, no_tls, tls=True)
    assert status == 502
    assert said.startswith("web2 at ADDRESS does not answer: no TLS connection")


def test_the_relay_says_that_no_connection_comes_about(tmp_path):
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        status, said = relayed(tmp_path, hang, port=full.getsockname()[1], limit=20)
    assert (status, said) == (502, "web2 at ADDRESS does not answer: no connection within 2 s")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"reason":"it is Sunday"}', "web2 at ADDRESS refuses the request: it is Sunday"),
        (b'{"reason":"another challenge","challenge":"%s"}' % (b"a" * 32), "another challenge"),
        (b'{"reason":"try","challenge":"\\r\\nX-Evil: 1"}', "in words that this version does not understand"),
        (b"nonsense", "in words that this version does not understand"),
    ],
)
def test_a_refusal_that_is_proven_is_told_in_its_own_words(tmp_path, body, reason):
    verifier = Verifier(keys=lambda: KEYS, farm="apache", node="web2", nodes=("web1", "web2"), draw=lambda: "c" * 32)

    async def refuse(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        header = re.search("Authorization: (.*)\r\n", head)[1]
        caller = verifier.verify("GET", "/api/v1/status", header, now=time.time()).caller
        proof = verifier.sign_answer(caller, status=401, body=body)
        answer = f"HTTP/1.1 401 No\r\n{ANSWER_HEADER}: {proof}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(answer.encode() + body)
        await writer.drain()

    status, said = relayed(tmp_path, refuse)
    assert status == 502
    assert said.endswith(reason)


def test_a_hung_node_holds_up_no_other_request(tmp_path):
    async def story():
        async with running(["web1", "web2", "web3"], tmp_path, limit=30) as nodes, impostor(hang) as port:
            nodes["web1"].control.nodes["web2"] = ApiAddress(address=HostPort("127.0.0.1", port))
            stuck = [asyncio.create_task(ask(nodes["web1"], "GET", "/api/v1/nodes/web2/status")) for _ in range(120)]
            await asyncio.sleep(0.1)
            for name in ("web1", "web3"):
                answer = ask(nodes["web1"], "GET", f"/api/v1/nodes/{name}/status")
                assert (await asyncio.wait_for(answer, 2))[0] == 200
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)

    asyncio.run(story())


def test_another_node_behind_the_address_is_not_taken_for_the_asked_one(tmp_path):
    async def story():
        async with running(["web1", "web2", "web3"], tmp_path) as nodes:
            # web1 alone has the addresses exchanged.
            addresses = nodes["web1"].control.nodes
            nodes["web1"].control.nodes = {**addresses, "web2": addresses["web3"]}
            status, document = await ask(nodes["web1"], "POST", "/api/v1/nodes/web2/actions/stop")
            assert status == 502
            assert document["reason"].endswith("is not believed: web3 answers there, not web2")
            assert not nodes["web3"].control.acts

    asyncio.run(story())


def test_different_keys_are_named_as_the_cause(tmp_path):
    keys = {"web2": FixedKeys(key1="another secret")}
    answers, nodes = told(tmp_path, ("POST", "/api/v1/nodes/web2/actions/stop"), keys=keys)
    assert answers[0][0] == 502
    assert "it does not accept this node's signature: are the key files the same?" in answers[0][1]["reason"]
    assert not nodes["web2"].control.acts
    [entry] = nodes["web2"].control.journal.after(0).events
    assert entry.level == Level.WARNING
    assert "refused a request from 127.0.0.1: wrong signature: the key files differ" in entry.message


def test_clocks_that_differ_are_named_as_the_cause(tmp_path):
    clocks = {"web2": lambda: time.time() + 94}
    answers, nodes = told(tmp_path, ("POST", "/api/v1/nodes/web2/actions/stop"), clocks=clocks)
    assert answers[0][0] == 502
    assert answers[0][1]["reason"].endswith("the clocks of web1 and web2 differ by 94 s, more than 30 s")
    assert not nodes["web2"].control.acts


def certificate(directory):
    """Make a self-signed certificate that no name and no authority vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "some other name")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now - dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    text = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain) + made.public_bytes(encoding)
    (directory / "tls.pem").write_bytes(text)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "tls.pem")
    return context


def test_over_tls_the_signature_vouches_not_the_certificate(tmp_path):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            there = nodes["web2"].server.sockets[0].getsockname()

            async def forward(reader, writer):
                onward, back = await asyncio.open_connection(*there)
                back.write(await reader.readuntil(b"\r\n\r\n"))
                writer.write(await onward.read())
                await writer.drain()
                back.close()

            async with impostor(forward, tls=certificate(tmp_path)) as port:
                nodes["web1"].control.nodes["web2"] = ApiAddress(address=HostPort("127.0.0.1", port), tls=True)
                status, document = await ask(nodes["web1"], "GET", "/api/v1/nodes/web2/status")
                assert (status, document["node"]) == (200, "web2")

    asyncio.run(story())


def test_the_relay_takes_no_proxy_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    answers, _ = told(tmp_path, ("GET", "/api/v1/nodes/web2/status"))
    assert answers[0][0] == 200


def test_a_node_that_has_restarted_with_another_address_is_found_there_and_one_that_has_not_where_it_was(tmp_path):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            known = nodes["web1"].control.nodes
            here, elsewhere = known["web2"], ApiAddress(address=HostPort("127.0.0.1", closed_port()))
            for where in (replace(elsewhere, later=here), replace(here, later=elsewhere)):
                known["web2"] = where
                for method, path in (("GET", "status"), ("POST", "actions/drain")):
                    body = b"{}" if method == "POST" else None
                    assert (await ask(nodes["web1"], method, f"/api/v1/nodes/web2/{path}", body))[0] == 200

    asyncio.run(story())


def test_an_action_that_a_node_may_have_begun_is_not_asked_for_again_elsewhere(tmp_path):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes, impostor(hang_up) as port:
            known = nodes["web1"].control.nodes
            known["web2"] = ApiAddress(address=HostPort("127.0.0.1", port), later=known["web2"])
            status, document = await ask(nodes["web1"], "POST", "/api/v1/nodes/web2/actions/drain", b"{}")
            assert status == 502
            assert "it may still act on the request" in document["reason"]
            assert (await ask(nodes["web1"], "GET", "/api/v1/nodes/web2/status"))[0] == 200

    asyncio.run(story())


def test_a_node_that_is_at_neither_address_is_told_with_both(tmp_path):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            first, second = (ApiAddress(address=HostPort("127.0.0.1", closed_port())) for _ in range(2))
            nodes["web1"].control.nodes["web2"] = replace(first, later=second)
            status, document = await ask(nodes["web1"], "GET", "/api/v1/nodes/web2/status")
            assert status == 502
            assert document["reason"].count("connection refused") == 2

    asyncio.run(story())
