"""The client: whom it asks for a node, and in which words it says that nobody answers."""

import asyncio
import contextlib
import errno
import re
import socket

import msgspec
import pytest
from api_nodes import FakeControl
from cli_farm import cli_farm

from hcsidecar.api.client import (
    ClientError,
    ClientFailure,
    LocalNode,
    NodeClient,
    client_for,
    read,
    read_line,
)
from hcsidecar.api.control import NodeCommand
from hcsidecar.core.documents import CommandResult, Entry, FarmStatus, Notice
from hcsidecar.core.events import Event, Level
from hcsidecar.core.remarks import RemarkLevel
from hcsidecar.farmfile.loading import FarmFileError

TWO_HERE = {"web1": "127.0.0.1", "web2": "127.0.0.2", "web3": "203.0.113.3"}


def failure_of(work):
    with pytest.raises(ClientError) as caught:
        asyncio.run(work)
    return caught.value


def test_the_node_of_this_machine_is_asked_over_its_socket():
    async def story(farm):
        async with farm.running(["web1", "web2"]) as nodes:
            client = client_for(farm.farm, None)
            assert (client.node, client.via.name) == ("web1", "web1")
            assert (await client.status()).document == nodes["web1"].control.status()
            assert (await client.act(NodeCommand.DRAIN, force=True)).ok
            assert [act[:2] for act in nodes["web1"].control.acts] == [("drain", True)]

    with cli_farm() as farm:
        asyncio.run(story(farm))


def test_another_node_is_asked_through_one_that_runs_here():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            client = client_for(farm.farm, "web2")
            assert (client.node, client.via.name) == ("web2", "web1")
            assert (await client.status()).document.node == "web2"
            nodes["web2"].control.answers[NodeCommand.DRAIN] = CommandResult(ok=False, text="too few")
            assert await client.act(NodeCommand.DRAIN) == CommandResult(ok=False, text="too few")

    with cli_farm() as farm:
        asyncio.run(story(farm))


def test_a_dead_socket_relays_for_nobody():
    async def story(farm):
        async with farm.running(["web2", "web3"], remote=["web3"]):
            left = socket.socket(socket.AF_UNIX)
            left.bind(str(farm.socket("web1")))
            left.close()
            assert client_for(farm.farm, "web3").via.name == "web2"

    with cli_farm() as farm:
        asyncio.run(story(farm))


def test_with_several_nodes_here_one_must_be_named():
    with cli_farm(addresses=TWO_HERE) as farm, pytest.raises(FarmFileError, match=r"web1, web2.*--node"):
        client_for(farm.farm, None)


def test_a_node_that_is_not_in_the_farm_is_a_wrong_command():
    with cli_farm() as farm, pytest.raises(FarmFileError, match="web9"):
        client_for(farm.farm, "web9")


def test_no_daemon_here_names_the_socket_and_how_to_start_one():
    with cli_farm() as farm:
        failure = failure_of(client_for(farm.farm, None).status())
        assert failure.failure is ClientFailure.NOT_RUNNING
        assert f"nobody listens on {farm.socket('web1')}" in str(failure)
        assert "systemctl start hcsidecar, or hcsidecar run --node web1" in str(failure)
        with pytest.raises(ClientError, match="no daemon of farm apache is running here that could ask web2"):
            client_for(farm.farm, "web2")


def test_a_socket_that_a_killed_daemon_left_is_no_daemon():
    with cli_farm() as farm:
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(farm.socket("web1")))
        left.close()
        assert failure_of(client_for(farm.farm, None).status()).failure is ClientFailure.NOT_RUNNING


@pytest.mark.parametrize(
    ("number", "failure", "words"),
    [
        (
            errno.EACCES,
            ClientFailure.NOT_ALLOWED,
            "permission denied\nonly root and the daemon's user may control a node",
        ),
        (errno.ENOENT, ClientFailure.NOT_RUNNING, "no daemon of node web1 is running here"),
        (errno.ECONNREFUSED, ClientFailure.NOT_RUNNING, "no daemon of node web1 is running here"),
        (errno.EAGAIN, ClientFailure.NOT_SERVED, "temporarily unavailable"),
    ],
)
def test_what_the_socket_says_is_put_into_words(tmp_path, number, failure, words):
    explained = LocalNode(name="web1", socket=tmp_path / "s").explain(OSError(number, "temporarily unavailable"))
    assert explained.failure is failure
    assert words in str(explained)


@contextlib.asynccontextmanager
async def daemon(path, answer, *, heard=None):
    """Listen like a daemon that answers whatever it is asked with the same bytes, or hangs on None.

    `heard` gets the bodies of the requests.
    """
    heard = [] if heard is None else heard

    served = asyncio.Event()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        if length := re.search(rb"Content-Length: (\d+)", head):
            heard.append(await reader.readexactly(int(length[1])))
        if answer is None:
            await reader.read()
        writer.write(answer or b"")
        writer.close()
        served.set()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield NodeClient("web1", LocalNode(name="web1", socket=path), timeout=0.2)
    finally:
        server.close()
        await asyncio.wait_for(served.wait(), 5)


def answered(status, body, kind="application/json"):
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        status.encode(),
        kind.encode(),
        len(body),
        body,
    )


@pytest.mark.parametrize(
    ("answer", "failure", "words"),
    [
        (None, ClientFailure.NOT_SERVED, "accepted the request, but did not answer within 0.2 s"),
        (b"", ClientFailure.NOT_RUNNING, "ended before it had answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", ClientFailure.NOT_RUNNING, "ended before it had answered"),
        (b"\x00garbage\r\n\r\n", ClientFailure.NOT_RUNNING, "ended before it had answered"),
        (answered("502 Bad Gateway", b'{"reason":"web2 hangs"}'), ClientFailure.UNREACHABLE, "web2 hangs"),
        (answered("403 Forbidden", b'{"reason":"not you"}'), ClientFailure.NOT_ALLOWED, "not you"),
        (
            answered("404 Not Found", b'{"reason":"no node web9"}'),
            ClientFailure.NOT_SERVED,
            "answers 404: no node web9",
        ),
        (answered("500 Oops", b"<html>"), ClientFailure.NOT_SERVED, "answers 500: without a reason"),
        (answered("200 OK", b'{"nodes":1}'), ClientFailure.NOT_SERVED, "not in a form that this version understands"),
        (answered("200 OK", b"\xff"), ClientFailure.NOT_SERVED, "not in a form that this version understands"),
    ],
)
def test_a_daemon_that_does_not_do_its_part_is_put_into_words(tmp_path, answer, failure, words):
    async def story():
        async with daemon(tmp_path / "s", answer) as client:
            return await client.status()

    failed = failure_of(story())
    assert failed.failure is failure
    assert words in str(failed)


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (lambda client: client.act(NodeCommand.DRAIN), b'{"force":false}'),
        (lambda client: client.act(NodeCommand.STOP, force=True), b'{"force":true}'),
        (lambda client: client.set_power(None, share=None), b'{"power":null,"share":null}'),
        (lambda client: client.set_power(3, share="h\udcffttp"), b'{"power":3,"share":"h\\\\xffttp"}'),
        (lambda client: client.report("QUEUE", "down"), b'{"value":"down"}'),
        (
            lambda client: client.log(RemarkLevel.WARNING, "a \udcff", origin="backup"),
            b'{"level":"warning","text":"a \\\\xff","origin":"backup"}',
        ),
    ],
)
def test_a_body_says_what_is_asked_and_leaves_who_asks_to_the_daemon(tmp_path, command, body):
    async def story():
        async with daemon(tmp_path / "s", answered("200 OK", b'{"ok":true,"text":"done"}'), heard=heard) as client:
            return await command(client)

    heard = []
    assert asyncio.run(story()) == CommandResult(ok=True, text="done")
    assert heard == [body]


def test_a_document_of_a_later_version_is_understood():
    document = msgspec.to_builtins(FakeControl(node="web1", nodes={"web1": None}).status())
    document["weather"] = "fine"
    document["nodes"][0]["mood"] = "good"
    assert read(msgspec.json.encode(document), FarmStatus).of("web1").role == "UP"


def test_following_goes_on_from_a_number():
    async def story(farm):
        async with farm.running(["web1"]) as nodes:
            journal = nodes["web1"].control.journal
            numbers = [
                journal.write(Event(level=Level.INFO, origin="application", message=str(n))).number for n in range(3)
            ]
            lines = client_for(farm.farm, "web1").follow(after=numbers[0], level="info")
            async with contextlib.aclosing(lines):
                assert [(await anext(lines)).message for _ in range(2)] == ["1", "2"]
                journal.close()
                with pytest.raises(StopAsyncIteration):
                    await asyncio.wait_for(anext(lines), 5)

    with cli_farm() as farm:
        asyncio.run(story(farm))


def test_following_a_node_that_is_not_there_says_so():
    async def story(farm):
        async with farm.running(["web1", "web2"], remote=["web2"]) as nodes:
            await nodes["web2"].stop_tcp()
            async for _ in client_for(farm.farm, "web2").follow(after=0, level="info"):
                pass

    with cli_farm() as farm:
        failure = failure_of(story(farm))
    assert failure.failure is ClientFailure.UNREACHABLE
    assert "connection refused" in str(failure)


@pytest.mark.parametrize("line", [b"", b"\n", b"[]", b"{}", b'{"notice":1}', b"\xff", b"nonsense"])
def test_a_line_that_is_none_is_told(line):
    with pytest.raises(ClientError, match="not in a form"):
        read_line(line)


def test_lines_are_entries_or_notices():
    entry = b'{"number":1,"time":2.0,"node":"web1","level":"info","origin":"application","message":"a \\"notice\\""}\n'
    assert isinstance(read_line(entry), Entry)
    assert read_line(b'{"node":"web1","notice":"2 are missing","missed":2}') == Notice(
        node="web1", notice="2 are missing", missed=2
    )
