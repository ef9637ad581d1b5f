"""The API over TCP: nothing without a signature, everything once, and every answer proven."""

import asyncio
import contextlib
import json
import re
import time

import pytest
from aiohttp import web
from api_nodes import KEYS, FakeControl, running
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcsidecar.api.auth import ANSWER_HEADER, Signer, Verifier
from hcsidecar.api.farm import TELL_EVERY, RefusedRequests, farm_app
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import tcp_protocols
from hcsidecar.core.events import Level

CHALLENGE = "c" * 32
NONCE = "0f" * 16
SIGNER = Signer(keys=lambda: KEYS, farm="apache", node="web1")


@contextlib.asynccontextmanager
async def node(**settings):
    """Run the TCP door of web2; gives its Control and a function that sends bytes and gives the answer to them."""
    control = FakeControl(node="web2", nodes={})
    verifier = Verifier(keys=lambda: KEYS, farm="apache", node="web2", nodes=("web1", "web2"), draw=lambda: CHALLENGE)
    async with tcp_protocols(farm_app(Api(control), verifier, **settings)) as protocols:
        server = await asyncio.get_running_loop().create_server(protocols, "127.0.0.1", 0)

        async def send(data, *, end=False):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            try:
                writer.write(data)
                if end:
                    writer.write_eof()
                async with asyncio.timeout(5):
                    head = await reader.readuntil(b"\r\n\r\n")
                    return head + await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
            except asyncio.IncompleteReadError as error:
                return error.partial
            finally:
                writer.close()

        try:
            yield control, send
        finally:
            server.close()


def request(method, path, body=b"", *, header=None, extra=""):
    signature = f"Authorization: {header}\r\n" if header else ""
    head = f"{method} {path} HTTP/1.1\r\nHost: node\r\n{signature}Content-Length: {len(body)}\r\nConnection: close\r\n"
    return f"{head}{extra}\r\n".encode() + body


def signed(method, path, body=b"", *, nonce=NONCE, challenge=CHALLENGE, now=None):
    now = time.time() if now is None else now
    return SIGNER.sign(method, path, body, to="web2", challenge=challenge, nonce=nonce, now=now)


def sent(*requests, **settings):
    """Send requests one after the other; give the answers and the node's Control."""

    async def story():
        async with node(**settings) as (control, send):
            return [await send(data) for data in requests], control

    return asyncio.run(story())


def without_date(answer):
    return b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(b"Date:"))


EMPTY_401 = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "TRACE", "CONNECT"])
@pytest.mark.parametrize("path", ["/", "/api/v1/status", "/api/v1/actions/stop", "/metrics", "/%00%C3%A4?x"])
def test_without_a_signature_every_answer_is_the_same_empty_401(method, path):
    [answer], control = sent(request(method, path, b"{}"))
    assert without_date(answer) == EMPTY_401
    assert not control.acts
    assert not control.journal.after(0).events


def test_asking_for_everything_at_once_is_answered_no_better():
    [answer], _ = sent(request("OPTIONS", "*"))
    assert without_date(answer) == EMPTY_401


@pytest.mark.parametrize("extra", ["Expect: 100-continue\r\n", "Expect: nonsense\r\n", "Upgrade: websocket\r\n"])
def test_no_header_makes_a_stranger_an_answer(extra):
    [answer], _ = sent(request("POST", "/api/v1/actions/stop", b"{}", extra=extra))
    assert without_date(answer) == EMPTY_401


def test_a_stranger_is_refused_before_his_body_has_come():
    head = request("POST", "/api/v1/actions/stop").replace(b"Content-Length: 0", b"Content-Length: 10000000")
    [answer], _ = sent(head)
    assert without_date(answer) == EMPTY_401


def test_a_signed_request_is_served_and_its_answer_signed():
    path = "/api/v1/actions/drain"
    proof = signed("POST", path, b'{"by":"root"}')
    [answer], control = sent(request("POST", path, b'{"by":"root"}', header=proof.header))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert json.loads(body)["ok"] is True
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert SIGNER.why_not_believed(proof, header=headers[ANSWER_HEADER], status=200, body=body) is None
    assert SIGNER.why_not_believed(proof, header=headers[ANSWER_HEADER], status=200, body=b"{}") is not None
    assert control.acts == [("drain", False, "root@web1")]
    assert "Server" not in headers


def test_a_request_is_served_once():
    path = "/api/v1/actions/stop"
    data = request("POST", path, header=signed("POST", path).header)
    answers, control = sent(data, data, data)
    assert answers[0].startswith(b"HTTP/1.1 200 OK")
    assert [without_date(answer) for answer in answers[1:]] == [EMPTY_401] * 2
    assert len(control.acts) == 1


def test_two_at_the_same_time_are_served_once():
    path = "/api/v1/actions/stop"
    data = request("POST", path, header=signed("POST", path).header)

    async def story():
        async with node() as (control, send):
            await asyncio.gather(*(send(data) for _ in range(20)))
            return control.acts

    assert len(asyncio.run(story())) == 1


@pytest.mark.parametrize(
    ("as_signed", "as_sent"),
    [
        (("POST", "/api/v1/actions/drain", b""), ("POST", "/api/v1/actions/stop", b"")),
        (("POST", "/api/v1/actions/drain", b""), ("POST", "/api/v1/actions/drain", b'{"force":true}')),
        (("POST", "/api/v1/actions/drain", b'{"force":true}'), ("POST", "/api/v1/actions/drain", b"")),
        (("GET", "/api/v1/events?last=1", b""), ("GET", "/api/v1/events?last=100", b"")),
        (("GET", "/api/v1/events?last=1", b""), ("GET", "/api/v1/events", b"")),
        (("GET", "/api/v1/status", b""), ("POST", "/api/v1/status", b"")),
    ],
)
def test_what_is_not_as_it_was_signed_is_not_served(as_signed, as_sent):
    [answer], control = sent(request(*as_sent, header=signed(*as_signed).header))
    assert without_date(answer) == EMPTY_401
    assert not control.acts


def test_nothing_is_relayed():
    path = "/api/v1/nodes/web2/status"
    [answer], _ = sent(request("GET", path, header=signed("GET", path).header))
    assert answer.startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"now": 1e9}, "differ by"),
        ({"challenge": ""}, "another challenge"),
        ({"challenge": "d" * 32}, "another challenge"),
    ],
)
def test_who_holds_the_key_is_told_why_he_is_refused(changes, reason):
    proof = signed("GET", "/api/v1/status", **changes)
    [answer], _ = sent(request("GET", "/api/v1/status", header=proof.header))
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    assert head.startswith(b"HTTP/1.1 401")
    assert reason in json.loads(body)["reason"]
    assert SIGNER.why_not_believed(proof, header=headers[ANSWER_HEADER], status=401, body=body) is None


def test_a_body_too_large_is_refused_with_the_reason():
    path, body = "/api/v1/actions/stop", b" " * 65_537
    [answer], control = sent(request("POST", path, body, header=signed("POST", path, body).header))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"more than 65536 bytes" in answer
    assert not control.acts


def test_a_body_that_does_not_come_is_not_waited_for():
    path = "/api/v1/actions/stop"
    data = request("POST", path, b"{}", header=signed("POST", path, b"{}").header)[:-1]
    [answer], control = sent(data, body_timeout=0.05)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"the body did not arrive within 0.05 s" in answer
    assert not control.acts


def test_a_body_in_broken_chunks_is_refused():
    path = "/api/v1/actions/stop"
    data = request("POST", path, header=signed("POST", path, b"{}").header)
    data = data.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"2\r\n{}\r\nzz\r\n"
    [answer], control = sent(data)
    assert without_date(answer) == EMPTY_401
    assert not control.acts


def test_public_routes_need_no_signature():
    async def health(request):
        return web.Response(text="OK\n")

    [known, other], _ = sent(request("GET", "/health"), request("GET", "/healthy"), public=[web.get("/health", health)])
    assert known.endswith(b"OK\n")
    assert without_date(other) == EMPTY_401


def test_forgeries_leave_one_line_in_the_journal():
    path = "/api/v1/status"
    forged = request("GET", path, header=signed("GET", "/api/v1/events").header)
    _, control = sent(*[forged] * 30, request("GET", path, header="Basic YWRtaW46"))
    [entry] = control.journal.after(0).events
    assert entry.level is Level.WARNING
    assert entry.message.startswith("refused a request from 127.0.0.1: wrong signature")


def test_refusals_are_told_once_a_minute_with_their_number():
    refusals = RefusedRequests()
    told = [refusals.note("wrong signature", remote="192.0.2.9", now=now) for now in (0, 1, 59.9, TELL_EVERY, 61)]
    assert [event and event.message for event in told] == [
        "refused a request from 192.0.2.9: wrong signature",
        None,
        None,
        "refused a request from 192.0.2.9: wrong signature; and 2 more since the last such line",
        None,
    ]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_bytes_from_the_network_do_nothing(garbage):
    async def story():
        async with node() as (control, send):
            for data in garbage:
                await send(data, end=True)
            await send(
                b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nAuthorization: Farm " + garbage[0] + b"\r\n\r\n", end=True
            )
            path = "/api/v1/status"
            answer = await send(request("GET", path, header=signed("GET", path).header))
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert not control.acts

    asyncio.run(story())


def test_the_relay_learns_the_challenge_and_asks_again(tmp_path):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            for _ in range(3):
                reply = await nodes["web1"].relay.ask("web2", "POST", "/api/v1/actions/drain", b"")
                assert reply.status == 200
            assert len(nodes["web2"].control.acts) == 3
            assert not nodes["web2"].control.journal.after(0).events

    asyncio.run(story())
