"""The unix socket: whose it is, and that no daemon takes another's."""

import asyncio
import contextlib
import os
import socket
import stat
import sys
import tempfile
from pathlib import Path

import pytest
from api_nodes import FakeControl, RunningNode, ask, running, told
from waiting import until

from hcsidecar.api.local import local_app, why_not_trusted
from hcsidecar.api.routes import Api
from hcsidecar.api.servers import SocketInUseError, listen, serve_unix
from hcsidecar.core.events import Event, Level


@pytest.mark.parametrize(
    ("uid", "own", "reason"),
    [
        (0, 0, None),
        (0, 1000, None),
        (1000, 1000, None),
        (1001, 1000, "user 1001 may not control this node, only root and user 1000"),
        (1000, 0, "user 1000 may not control this node, only root and user 0"),
    ],
)
def test_root_and_the_daemons_user_may(uid, own, reason):
    assert why_not_trusted(uid=uid, own=own) == reason


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_user_is_refused_even_if_the_mode_lets_him_connect():
    asker = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /api/v1/status HTTP/1.0\\r\\n\\r\\n'); print(s.recv(9999).decode())"
    )

    async def story(directory):
        async with running(["web1"], directory) as nodes:
            nodes["web1"].socket.chmod(0o666)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", asker, str(nodes["web1"].socket), stdout=asyncio.subprocess.PIPE
            )
            text, _ = await asyncio.wait_for(process.communicate(), 10)
            assert text.startswith(b"HTTP/1.0 403")
            assert b"user 65534 may not control this node" in text

    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        asyncio.run(story(Path(directory)))


def test_the_socket_is_its_owners_alone_and_goes_with_the_daemon(tmp_path):
    async def story():
        async with running(["web1"], tmp_path) as nodes:
            path = nodes["web1"].socket
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not path.exists()

    asyncio.run(story())


def test_a_socket_that_a_killed_daemon_left_is_replaced(tmp_path):
    path = tmp_path / "web1.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    answers, _ = told(tmp_path, ("GET", "/api/v1/status"))
    assert answers[0][0] == 200


def test_a_second_daemon_of_the_same_node_does_not_take_the_socket(tmp_path):
    async def story():
        async with running(["web1"], tmp_path) as nodes:
            with pytest.raises(SocketInUseError, match="another daemon answers on"):
                listen(nodes["web1"].socket)
            assert (await ask(nodes["web1"], "GET", "/api/v1/status"))[0] == 200

    asyncio.run(story())


def test_a_daemon_that_takes_no_more_connections_is_not_waited_for(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as busy, contextlib.ExitStack() as stack:
        busy.bind(str(path))
        busy.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.settimeout(0)
                waiting.connect(str(path))
        with pytest.raises(SocketInUseError):
            listen(path)


@pytest.mark.parametrize("rest", [b"", b"zz\r\n"])
def test_a_body_that_does_not_come_is_not_waited_for(tmp_path, rest):
    async def story():
        control = FakeControl(node="web1", nodes={"web1": None})
        async with serve_unix(local_app(Api(control), None, body_timeout=0.1), tmp_path / "s"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            head = b"POST /api/v1/actions/stop HTTP/1.1\r\nHost: node\r\nTransfer-Encoding: chunked\r\n\r\n"
            writer.write(head + b"2\r\n{}\r\n")
            await asyncio.sleep(0.02)
            writer.write(rest)
            answer = await asyncio.wait_for(reader.readline(), 5)
            writer.close()
        assert answer == b"HTTP/1.1 408 Request Timeout\r\n"
        assert not control.acts

    asyncio.run(story())


def test_a_node_that_is_starting_says_what_it_waits_for_and_gives_its_events(tmp_path):
    async def story():
        control = FakeControl(node="web1", nodes={"web1": None, "web2": None})
        node = RunningNode(control=control, socket=tmp_path / "s", relay=None, server=None)
        waits = ["it waits for its address"]
        app = local_app(Api(control), None, starting=lambda: waits[0])
        async with serve_unix(app, node.socket):
            for method, path in (("GET", "/status"), ("POST", "/actions/stop"), ("GET", "/nodes/web2/events")):
                answer = await ask(node, method, f"/api/v1{path}")
                assert answer == (503, {"reason": "it waits for its address", "starting": True})
            assert not control.acts
            for path in ("/events", "/nodes/web1/events"):
                assert (await ask(node, "GET", f"/api/v1{path}"))[0] == 200
            waits[0] = None
            assert (await ask(node, "GET", "/api/v1/status"))[0] == 200

    asyncio.run(story())


def test_a_socket_of_another_daemon_is_not_removed(tmp_path):
    async def story():
        path = tmp_path / "web1.sock"
        control = FakeControl(node="web1", nodes={})
        async with serve_unix(local_app(Api(control), None), path):
            path.unlink()
            other = listen(path)
        assert path.exists()
        other.close()

    asyncio.run(story())


def test_a_socket_that_somebody_removes_is_made_anew_and_the_requests_under_way_go_on(tmp_path):
    async def story():
        control = FakeControl(node="web1", nodes={"web1": None})
        node = RunningNode(control=control, socket=tmp_path / "s", relay=None, server=None)
        async with serve_unix(local_app(Api(control), None), node.socket) as door:
            assert await door.look() is None
            waiting = asyncio.create_task(ask(node, "GET", f"/api/v1/events?after={control.journal.last}&wait=20"))
            await until(lambda: control.journal._news._waiters, what="the question")
            node.socket.unlink()
            assert await door.look() == "was removed"
            assert stat.S_IMODE(node.socket.stat().st_mode) == 0o600
            assert (await ask(node, "GET", "/api/v1/status"))[0] == 200
            control.journal.write(Event(level=Level.INFO, origin="application", message="news"))
            assert (await waiting)[1]["events"][0]["message"] == "news"
            assert await door.look() is None
        assert not node.socket.exists()

    asyncio.run(story())


def test_a_socket_whose_place_another_daemon_has_taken_is_left_to_it(tmp_path):
    async def story():
        control = FakeControl(node="web1", nodes={})
        async with serve_unix(local_app(Api(control), None), tmp_path / "s") as door:
            (tmp_path / "s").unlink()
            other = listen(tmp_path / "s")
            for _ in range(2):
                with pytest.raises(SocketInUseError):
                    await door.look()
            other.close()
            assert await door.look() == "was replaced"

    asyncio.run(story())


def test_what_is_no_socket_is_not_removed(tmp_path):
    path = tmp_path / "web1.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match=r"refused|not a socket|Protocol") as failure:
        listen(path)
    assert failure.value is not None
    assert path.read_text() == "precious"
