"""Every path of the API by every door, held to what the manual says of it: who is served, who is told what, and how."""

import asyncio
import contextlib
import itertools
import json
import re
import time
from pathlib import Path

import pytest
from api_nodes import KEYS, FakeControl, ask, running

from hcsidecar.api.auth import ANSWER_HEADER, Signer, Verifier
from hcsidecar.api.certificates import ON_THIS_MACHINE
from hcsidecar.api.farm import farm_app
from hcsidecar.api.joining import ON_THE_NODE_ITSELF as TOKENS_ON_THE_NODE_ITSELF
from hcsidecar.api.local import local_app
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import serve_unix, tcp_protocols
from hcsidecar.api.settings import ON_THE_NODE_ITSELF
from hcsidecar.core.health import HealthAnswer, HealthFace
from hcsidecar.core.remarks import OURS
from hcsidecar.web.aiohttp_bridge import counting_logger, health_middleware
from hcsidecar.web.listener import HealthServer
from hcsidecar.web.metrics_page import MetricsPage
from hcsidecar.web.refusals import ConnectionRefusal

MANUAL = Path(__file__).parents[2] / "docs" / "manual" / "api.md"

ROUTES = {
    "GET /api/v1/status": b"",
    "GET /api/v1/facts": b"",
    "GET /api/v1/series": b"",
    "GET /api/v1/checks": b"",
    "GET /api/v1/metrics": b"",
    "GET /api/v1/events": b"",
    "POST /api/v1/log": b'{"level":"info","text":"a word"}',
    "GET /api/v1/runs": b"",
    "GET /api/v1/runs/NAME": b"",
    **{f"POST /api/v1/actions/{each}": b"{}" for each in ("start", "stop", "restart", "drain", "resume", "leave")},
    "POST /api/v1/power": b'{"power":3}',
    **{f"POST /api/v1/requests/{each}": b'{"identity":"x"}' for each in ("restart", "stopstart", "stop", "wait")},
    "GET /api/v1/reports/NAME": b"",
    "POST /api/v1/reports/NAME": b'{"value":"up"}',
    "GET /api/v1/budget": b"",
    "POST /api/v1/budget/count": b'{"identity":"x"}',
    "POST /api/v1/budget/reset": b"{}",
    "GET /api/v1/targets": b"",
    "GET /api/v1/snapshot": b"",
    "GET /api/v1/notifications": b"",
    "POST /api/v1/notifications": b'{"receiver":"chat"}',
    "GET /api/v1/settings": b"",
    "GET /api/v1/settings/differences": b"",
    "POST /api/v1/settings/candidates": b'{"message":"more power"}',
    "POST /api/v1/settings/proposals": b'{"digest":"%s"}' % (b"0" * 64),
    "POST /api/v1/joining/tokens": b'{"node":"web4"}',
    "GET /api/v1/certificates/console": b"",
    "POST /api/v1/certificates/console": b'{"nonce":"%s","request":"-----"}' % (b"0" * 32),
    "GET /api/v1/layer-two": b"",
    "GET /api/v1/layer-two/explain?address=192.0.2.9": b"",
    "GET /api/v1/layer-two/check": b"",
}
"Every request of the manual, with a body that is right."
POSTS = [route for route in ROUTES if route.startswith("POST")]
TO_APPLY = [route for route in POSTS if "/settings/" in route]
OF_ITS_OWN_NODE = [route for route in POSTS if re.search("/(requests|reports|budget)/", route)]
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "HEAD", "SPLICE")

EMPTY_401 = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@contextlib.asynccontextmanager
async def node():
    """Run web2 with its TCP listener as in the daemon, and its unix socket; gives Control, senders and the server."""
    control = FakeControl(
        node="web2", nodes={"web1": None, "web2": None}, checks_said={"NAME": "init"}, vips=("192.0.2.80",)
    )
    api = Api(control)
    answer = HealthAnswer(ok=True, node="web2", state="UP(Ready)")
    face = HealthFace(farm="apache", path="/health", answer=answer, now=0.0)
    server = HealthServer(face)
    verifier = Verifier(keys=lambda: KEYS, farm="apache", node="web2", nodes=("web1", "web2"), draw=lambda: "c" * 32)
    app = farm_app(api, verifier, public=MetricsPage(lambda: ()).routes(), first=[health_middleware(face)])
    logger = counting_logger(server.connections.refusals)
    async with tcp_protocols(app, logger=logger) as protocols:
        await server.start((("127.0.0.1", 0),), api=protocols)
        try:
            yield control, server
        finally:
            await server.close()


async def sent(server, data):
    """Send bytes from a stranger and give all that comes back until the connection ends."""
    reader, writer = await asyncio.open_connection(*server.addresses[0])
    try:
        writer.write(data)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def without_date(answer):
    return b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(b"Date:"))


def request(method, path, body=b"", *extra):
    head = [f"{method} {path} HTTP/1.1", "Host: node", f"Content-Length: {len(body)}", "Connection: close", *extra]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def told_to_strangers(*requests):
    """Send each on a connection of its own; gives the answers, what the node did, and what it wrote down."""

    async def story():
        async with node() as (control, server):
            answers = [without_date(await sent(server, each)) for each in requests]
            done = [control.acts, control.requests, control.powers_set, control.counted]
            return answers, [*itertools.chain(*done)], control.journal.after(0).events

    return asyncio.run(story())


def test_the_table_has_every_request_of_the_manual():
    manual = {
        f"{method} {path}"
        for line in MANUAL.read_text().splitlines()
        if line.startswith(("| `GET /", "| `POST /"))
        for method, path in re.findall(r"(GET|POST) (/api/v1/[^`?, ]*)", line.split(" | ")[0])
    }
    table = {re.sub(r"(actions|requests)/[a-z]+", r"\1/ACTION", route.partition("?")[0]) for route in ROUTES} - {
        "POST /api/v1/reports/NAME",
        "POST /api/v1/budget/reset",
    }

    assert manual == table


# Strangers over TCP


def test_without_a_signature_every_path_and_method_is_answered_alike():
    requests = [
        request(method, route.split()[1], body)
        for method, (route, body) in itertools.product(METHODS, ROUTES.items())
        if method != "HEAD"
    ]
    answers, done, events = told_to_strangers(*requests)
    assert set(answers) == {EMPTY_401}
    assert (done, events) == ([], ())


MALFORMED = {
    "no colon": b"GET /api/v1/status HTTP/1.1\r\nHost\r\n\r\n",
    "no host": b"GET /api/v1/status HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a fold": b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n",
    "a NUL": b"GET /api/v1/status HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
    "a bare CR": b"GET /api/v1/status HTTP/1.1\r\nHost: a\rb\r\n\r\n",
    "a length that is none": b"POST /api/v1/log HTTP/1.1\r\nHost: a\r\nContent-Length: much\r\n\r\n",
    "a negative length": b"POST /api/v1/log HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /api/v1/log HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "length and chunks": b"POST /api/v1/log HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an encoding that nobody knows": b"POST /api/v1/log HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: secret\r\n\r\n",
    "chunks that are none": b"POST /api/v1/log HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a head too long": b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 2000 + b"\r\n",
    "a line too long": b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nA: " + b"b" * 9000 + b"\r\n\r\n",
    "a host that is none": b"GET /api/v1/status HTTP/1.1\r\nHost: [::1\r\nConnection: close\r\n\r\n",
    "an upgrade": b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "an expectation": b"POST /api/v1/log HTTP/1.1\r\nHost: a\r\nExpect: the impossible\r\n\r\n",
    "another scheme": b"GET ftp://a/api/v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "a path that is none": b"GET api/v1/status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "half an escape": b"GET /api/v1/status%f HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "a query of nothing": b"GET /api/v1/events?%ff=%00&&= HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "an empty signature": b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nAuthorization:\r\nConnection: close\r\n\r\n",
    "garbage as a signature": b"GET /api/v1/status HTTP/1.1\r\nHost: a\r\nAuthorization: Farm key=\xff\r\n"
    b"Connection: close\r\n\r\n",
}
"What a stranger may send to the API that is no request as it should be."


@pytest.mark.parametrize("malformed", MALFORMED)
def test_a_malformed_request_of_a_stranger_is_answered_like_any_other(malformed):
    [answer], done, _ = told_to_strangers(MALFORMED[malformed])
    assert answer == EMPTY_401
    assert done == []


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"3\r\n{}\r\n", b"-1\r\n"])
def test_a_body_that_breaks_later_brings_a_stranger_no_more_words(chunk):
    async def story():
        async with node() as (_, server):
            reader, writer = await asyncio.open_connection(*server.addresses[0])
            writer.write(b"POST /api/v1/log HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n")
            first = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
            writer.write(chunk)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) in (b"", EMPTY_401)
            writer.close()
            assert without_date(first) == EMPTY_401

    asyncio.run(story())


def test_what_begins_with_no_request_gets_one_fixed_word_and_nothing_that_it_sent():
    answers, _, _ = told_to_strangers(b"secret\r\n\r\n", b"\x16\x03\x01secret\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert [answer.split(b"\r\n\r\n")[1] for answer in answers] == [
        b"BAD REQUEST LINE\n",
        b"BAD REQUEST LINE\n",
        b"HTTP/2\n",
    ]
    assert not any(b"secret" in answer or b"Server" in answer for answer in answers)


def test_unreadable_requests_are_counted_and_not_logged(caplog):
    async def story():
        async with node() as (control, server):
            await sent(server, MALFORMED["two hosts"])
            assert server.connections.refusals == {ConnectionRefusal.UNREADABLE_FOR_API: 1}
            assert control.journal.after(0).events == ()

    asyncio.run(story())
    assert caplog.records == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "BREW"])
@pytest.mark.parametrize("path", ["/health", "/metrics", "/var/modules/apache/ready.txt"])
def test_no_answer_tells_the_version_of_the_server(method, path):
    [answer], _, _ = told_to_strangers(request(method, path))
    assert re.match(rb"HTTP/1.1 (200|405) ", answer) or answer == EMPTY_401
    assert b"\r\nServer:" not in answer
    assert b"aiohttp" not in answer.lower()


# Signed requests over TCP


def signed_request(route, body, *, by="web1", nonce="0f" * 16):
    method, path = route.split()
    signer = Signer(keys=lambda: KEYS, farm="apache", node=by)
    signed = signer.sign(method, path, body, to="web2", challenge="c" * 32, nonce=nonce, now=time.time())
    return request(method, path, body, f"Authorization: {signed.header}")


def told_to_nodes(*requests):
    """Give status and document of the answer to each, and what the node did."""

    async def story():
        async with node() as (control, server):
            answers = [(await sent(server, each)).partition(b"\r\n\r\n") for each in requests]
            done = [control.acts, control.requests, control.powers_set, control.counted]
            assert all(ANSWER_HEADER.encode() in head for head, _, _ in answers)
            return [(int(head.split()[1]), json.loads(body)) for head, _, body in answers], [*itertools.chain(*done)]

    return asyncio.run(story())


@pytest.mark.parametrize("route", ROUTES)
def test_who_is_no_node_of_the_farm_file_commands_nothing_though_he_holds_the_key(route):
    [(status, document)], done = told_to_nodes(signed_request(route, ROUTES[route], by="web9"))
    assert (status, done) == (401, [])
    assert document["reason"] == "web9 is no node of this node's farm file"


@pytest.mark.parametrize("route", ROUTES)
def test_the_application_of_a_node_is_spoken_for_on_that_node_only(route):
    [(status, document)], done = told_to_nodes(signed_request(route, ROUTES[route]))
    if route in OF_ITS_OWN_NODE:
        assert (status, done) == (400, [])
        assert "for that node only" in document["reason"]
    elif "/joining/" in route:
        assert (status, document["reason"]) == (400, TOKENS_ON_THE_NODE_ITSELF)
    elif "/certificates/" in route:
        assert (status, document["reason"]) == (400, ON_THIS_MACHINE)
    elif route in TO_APPLY:
        assert (status, document["reason"]) == (400, ON_THE_NODE_ITSELF)
    else:
        assert status == 404 if "runs/NAME" in route else status == 200


def test_no_way_of_writing_a_path_leads_around_that():
    ways = ["/api/v1/%72equests/restart", "/api/v1/requests%2Frestart", "/api/v1/./requests/restart"]
    ways += ["/api/v1//requests/restart", "/api/v1/x/../requests/restart", "/api/v1/requests/restart?x=1"]
    requests = [
        signed_request(f"POST {way}", b'{"identity":"x"}', nonce=f"{number:032x}") for number, way in enumerate(ways)
    ]
    answers, done = told_to_nodes(*requests)
    assert done == []
    assert all(status in (400, 404) for status, _ in answers)


def test_the_relay_does_not_carry_it_either(tmp_path):
    async def story():
        async with running(["web1", "web2"], tmp_path) as nodes:
            for route in OF_ITS_OWN_NODE:
                path = route.split()[1].replace("/api/v1/", "/api/v1/nodes/web2/")
                status, document = await ask(nodes["web1"], "POST", path, ROUTES[route])
                assert (status, "for that node only" in document["reason"]) == (400, True)
            assert nodes["web2"].control.requests == nodes["web2"].control.counted == []

    asyncio.run(story())


# The unix socket


@contextlib.asynccontextmanager
async def local(directory):
    """Run the unix socket of web2; gives its Control and a function that sends bytes and gives status and document."""
    control = FakeControl(node="web2", nodes={"web2": None}, checks_said={"NAME": "init"}, vips=("192.0.2.80",))

    async def send(data):
        reader, writer = await asyncio.open_unix_connection(str(directory / "s"))
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
        assert b"\r\nContent-Type: application/json" in head
        return int(head.split()[1]), json.loads(body)

    logger = counting_logger({ConnectionRefusal.UNREADABLE_FOR_API: 0})
    async with serve_unix(local_app(Api(control), None), directory / "s", logger=logger):
        yield control, send


@pytest.mark.parametrize("route", ROUTES)
def test_every_method_that_a_path_does_not_take_is_refused_with_the_ones_that_it_takes(tmp_path, route):
    path = route.split()[1].partition("?")[0]
    takes = {each.split()[0] for each in ROUTES if each.split()[1].partition("?")[0] == path}

    async def story():
        async with local(tmp_path) as (control, send):
            for method in METHODS:
                if method in takes | {"HEAD", "CONNECT", "SPLICE"}:  # no body, no path, no method that aiohttp knows
                    continue
                status, document = await send(request(method, path))
                assert status == 405, method
                assert all(each in document["reason"] for each in takes)
            assert control.acts == control.requests == control.counted == []

    asyncio.run(story())


WRONG_BODIES = {
    b"": None,
    b"{": "truncated",
    b"[]": "Expected `object`",
    b"\xff": "",
    b'{"nonsense":1}': "nonsense",
    rb'{"by":"\ud800"}': "\\ud800 is half of a surrogate pair, and no character",
    rb'{"by":"\udfff"}': "\\udfff is half of a surrogate pair, and no character",
    rb'{"by":"\ud83d\ud83d\ude00"}': "\\ud83d is half of a surrogate pair, and no character",
    b'{"by":"\xed\xa0\x80"}': "Invalid UTF-8",
    b"[" * 60_000: "",
    b'{"by":1}': "Expected `str`",
}
"Bodies of a POST that are wrong, and what is said of them; None where an empty one may do."


@pytest.mark.parametrize("route", POSTS)
def test_every_wrong_body_is_refused_with_the_true_reason(tmp_path, route):
    async def story():
        async with local(tmp_path) as (_, send):
            for body, reason in WRONG_BODIES.items():
                status, document = await send(request("POST", route.split()[1], body))
                if reason is None:
                    continue
                assert status == 400, body
                assert document["reason"].startswith("the body")
                assert reason in document["reason"]
                assert "truncated" not in document["reason"] or reason == "truncated"

    asyncio.run(story())


def test_an_escape_that_only_looks_like_half_of_a_pair_is_taken(tmp_path):
    async def story():
        async with local(tmp_path) as (control, send):
            for text in (rb"\\ud800", rb"\ud83d\ude00", rb"\u00e4"):
                body = b'{"level":"info","text":"%s"}' % text
                assert (await send(request("POST", "/api/v1/log", body)))[0] == 200
            return [entry.message for entry in control.journal.after(0).events]

    assert asyncio.run(story()) == [f"{text} ({'root'})" for text in ("\\ud800", "\U0001f600", "ä")]


@pytest.mark.parametrize("malformed", [each for each in MALFORMED if "signature" not in each and "no host" not in each])
def test_what_cannot_be_read_is_answered_in_json_here_too(tmp_path, malformed):
    async def story():
        async with local(tmp_path) as (_, send):
            data = MALFORMED[malformed].replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n")
            status, document = await send(data)
            assert status == 200 or document["reason"]
            assert status in (200, 400, 404, 405)

    asyncio.run(story())


@pytest.mark.parametrize("target", ["/", "/api", "/api/v1", "/api/v1/", "/api/v2/status", "//api/v1/status"])
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "POST"])
def test_a_path_that_is_none_is_told_so_in_json(tmp_path, method, target):
    async def story():
        async with local(tmp_path) as (_, send):
            status, document = await send(request(method, target))
            assert (status, document["reason"]) == (404, "the API has no such path")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "target"), [("OPTIONS", "*"), ("GET", "*"), ("CONNECT", "web2:80"), ("SPLICE", "/x")]
)
def test_what_asks_for_no_path_is_answered_in_json_too(tmp_path, method, target):
    async def story():
        async with local(tmp_path) as (_, send):
            status, document = await send(request(method, target))
            assert status in (400, 404)
            assert document["reason"]

    asyncio.run(story())


# Who says it in the log


def pretences():
    ways = [[ours, ours.upper(), f"{ours[:3]}-{ours[3:]}", ours.replace(" ", ""), f"{ours}."] for ours in sorted(OURS)]
    return list(dict.fromkeys(itertools.chain(*ways)))


@pytest.mark.parametrize(
    "origin", [*pretences(), "me\u043cbership", "x: y", " ", "a  b", "\x1b[2J", "x" * 33, "\u00e4"]
)
@pytest.mark.parametrize("by_node", [False, True])
def test_no_line_in_the_log_pretends_to_be_one_of_ours(tmp_path, origin, by_node):
    body = json.dumps({"level": "error", "text": "web2 is dead", "origin": origin}).encode()
    if by_node:
        [(status, document)], _ = told_to_nodes(signed_request("POST /api/v1/log", body))
    else:

        async def story():
            async with local(tmp_path) as (control, send):
                answer = await send(request("POST", "/api/v1/log", body))
                assert control.journal.after(0).events == ()
                return answer

        status, document = asyncio.run(story())
    assert status == 400
    assert re.search(r"`(\$\.)?origin`", document["reason"])


@pytest.mark.parametrize(
    "origin", ["backup", "operator", "script", "cron.daily", "web-check", "Nightly Backup", "root@db1"]
)
def test_other_names_may_be_used(tmp_path, origin):
    async def story():
        async with local(tmp_path) as (control, send):
            body = json.dumps({"level": "error", "text": "down", "origin": origin}).encode()
            assert (await send(request("POST", "/api/v1/log", body)))[0] == 200
            return control.journal.after(0).events[0].origin

    assert asyncio.run(story()) == origin
