"""A console process that strangers attack by the hundred, before real daemons, which notice nothing of it."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest
from daemons import real_farm, wait_for
from real_consoles import console_of

from hcsidecar.console.listening import MOST, MOST_EACH
from hcsidecar.core.console.stream_format import MOST_STREAMS, MOST_STREAMS_EACH

SLOW = 300
"Requests that are never finished."


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    with real_farm(tmp_path_factory.mktemp("farm")) as made:
        yield made.start().all_ready()


class Prober(threading.Thread):
    """A balancer that asks the health URL of all nodes all the time."""

    def __init__(self, farm):
        super().__init__(daemon=True)
        self._farm, self._over, self.answers = farm, threading.Event(), []

    def run(self):
        while not self._over.wait(0.02):
            self.answers += [self._farm.health(name) for name in self._farm.names]

    def end(self):
        self._over.set()
        self.join(30)


@contextlib.contextmanager
def undisturbed(farm):
    """See that every probe of every node is answered 200 meanwhile, and that no node leaves its view."""
    before = [farm.status(name)["view"] for name in farm.names]
    logs = {name: len(farm.log(name)) for name in farm.names}
    prober = Prober(farm)
    prober.start()
    try:
        yield
        wait_for(lambda: len(prober.answers) > 60, limit=60, what="enough probes")
    finally:
        prober.end()
    assert set(prober.answers) == {200}
    assert [farm.status(name)["view"] for name in farm.names] == before == [sorted(farm.names)] * 3
    said = "".join(farm.log(name)[logs[name] :] for name in farm.names)
    assert "membership" not in said, said


@contextlib.contextmanager
def many(console, number, what=b"", *, first=10):
    """Open connections from as many addresses as are needed, and send something on each; give them."""
    opened = []
    try:
        for count in range(number):
            source = f"127.0.1.{first + count // MOST_EACH}"
            opened.append(socket.create_connection(("127.0.0.1", console.port), 30, source_address=(source, 0)))
            opened[-1].sendall(what)
        yield opened
    finally:
        for each in opened:
            each.close()


def first_line(connection, limit=60):
    """Give the first line of an answer, b"" if the connection was ended without one."""
    connection.settimeout(limit)
    with contextlib.suppress(ConnectionError):
        return connection.makefile("rb").readline()
    return b""


def serves(console):
    def asked():
        with contextlib.suppress(OSError):
            return console.ask("GET", "/farm")[0] == 200

    return asked


def test_as_many_connections_as_there_may_be_keep_others_out_of_the_console_and_disturb_no_node(farm):
    with console_of(farm, "web1") as console:
        late = b"GET /sign-in HTTP/1.1\r\nHost: x\r\n\r\n"
        with undisturbed(farm), many(console, MOST), many(console, 1, late, first=200) as (refused,):
            assert first_line(refused) == b""
        wait_for(serves(console), limit=30, what="room for others")


def test_bodies_that_never_end_by_the_hundred_disturb_no_node_and_are_refused_in_the_end(farm):
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    with console_of(farm, "web1") as console, undisturbed(farm), many(console, SLOW, head) as slow:
        assert serves(console)()
        answers = {first_line(each) for each in slow}
        assert answers == {b"HTTP/1.1 408 Request Timeout\r\n"}


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 1000000000000\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n" + 40 * (b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    ],
    ids=["announced", "in chunks"],
)
def test_bodies_that_are_too_large_are_refused_and_fill_no_memory(farm, body):
    head = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with console_of(farm, "web1") as console, undisturbed(farm), many(console, 50) as connections:
        for each in connections:
            with contextlib.suppress(ConnectionError):
                each.sendall(head + body)
            assert first_line(each) in (b"HTTP/1.1 413 Request Entity Too Large\r\n", b"")
        assert serves(console)()
        status = Path(f"/proc/{console.process.pid}/status").read_text()
        (line,) = (each for each in status.splitlines() if each.startswith("VmRSS"))
        assert int(line.split()[1]) < 120_000, line


def test_there_are_so_many_streams_in_all_and_one_that_ends_makes_room(farm):
    with console_of(farm, "web1") as console:
        head = f"GET /api/v1/stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {console.token}\r\n\r\n".encode()
        with undisturbed(farm), contextlib.ExitStack() as stack:
            streams = []
            for count in range(MOST_STREAMS):
                first = 10 + count // MOST_STREAMS_EACH
                streams += stack.enter_context(many(console, 1, head, first=first))
            assert {first_line(each) for each in streams} == {b"HTTP/1.1 200 OK\r\n"}
            with many(console, 1, head, first=200) as (refused,):
                assert first_line(refused).startswith(b"HTTP/1.1 429 ")
            streams[0].shutdown(socket.SHUT_RDWR)

            def admitted():
                with many(console, 1, head, first=200) as (stream,):
                    return first_line(stream) == b"HTTP/1.1 200 OK\r\n"

            wait_for(admitted, limit=30, what="room for another stream")


def test_heads_that_come_letter_by_letter_by_the_hundred_are_ended_and_disturb_no_node(farm):
    with console_of(farm, "web1") as console, undisturbed(farm), many(console, SLOW, b"GET /si") as slow:
        assert serves(console)()
        assert {first_line(each) for each in slow} == {b""}
