"""The program of the demo's clients, against servers that answer, hang up, reset, or say nothing."""

import asyncio
import socket
import struct

import pytest
from waiting import until

from hcsidecar.demo.clients import RequestRate, VipClient

PAGE = b"<h1>web1</h1>"
QUICK = RequestRate(new_every=0.01, ask_every=0.01, patience=0.3)
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(PAGE), PAGE)


class Server:
    """Answers requests with what it is told to: bytes, None for silence, or "reset" and "hang up" for an end."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.connections = 0
        self.sources = set()
        self.ended = asyncio.Semaphore(0)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.target = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_exception):
        self._server.close()
        for _ in range(self.connections):
            await self.ended.acquire()

    async def _serve(self, reader, writer):
        self.connections += 1
        self.sources.add(writer.get_extra_info("peername")[0])
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer == "reset":
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                if answer in {"reset", "hang up"}:
                    break
                writer.write(answer or b"")
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.ended.release()


def told(server, method, *, count, source="127.0.0.1"):
    """Let a client work until it has told so many requests; gives them."""

    async def main():
        requests = []
        async with server:
            client = VipClient(server.target, source, tell=requests.append, pace=QUICK)
            task = asyncio.create_task(getattr(client, method)(delay=0))
            await until(lambda: len(requests) >= count, what=f"{count} requests")
            task.cancel()
            await asyncio.wait([task])
        return requests[:count]

    return asyncio.run(main())


def test_every_new_connection_comes_from_the_clients_address_and_carries_one_request():
    server = Server(GOOD)
    requests = told(server, "make_new_ones", count=3, source="127.0.0.9")
    assert {(each.client, each.server, each.complaint, each.kept) for each in requests} == {
        ("127.0.0.9", "web1", None, False)
    }
    assert server.connections >= 3
    assert server.sources == {"127.0.0.9"}
    assert all(each.began <= each.ended for each in requests)


def test_a_kept_connection_carries_all_requests():
    server = Server(GOOD)
    requests = told(server, "keep_one", count=5)
    assert [(each.server, each.kept, each.lost) for each in requests] == [("web1", True, None)] * 5
    assert server.connections == 1


@pytest.mark.parametrize(("end", "how"), [("hang up", "the server hung up"), ("reset", "the connection was reset")])
def test_a_request_on_a_kept_connection_that_has_ended_goes_over_a_new_one_and_says_so(end, how):
    server = Server(GOOD, end, GOOD)
    requests = told(server, "keep_one", count=3)
    assert [(each.server, each.lost, each.complaint) for each in requests] == [
        ("web1", None, None),
        ("web1", how, None),
        ("web1", None, None),
    ]
    assert server.connections == 2


@pytest.mark.parametrize("method", ["make_new_ones", "keep_one"])
@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "no answer in 0.3 s"),
        ("hang up", "the server hung up"),
        ("reset", "the connection was reset"),
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 503 Service Unavailable"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "a page that names no server"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK"),
        (b"x" * 100_000, "no end of the headers"),
    ],
)
def test_a_request_without_a_good_answer_has_failed_and_says_why(method, answer, complaint):
    (request,) = told(Server(answer), method, count=1)
    assert (request.server, request.complaint) == (None, complaint)


def test_nobody_listening_is_a_failure_in_words():
    async def main():
        requests = []
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            client = VipClient(unused.getsockname(), "127.0.0.1", tell=requests.append, pace=QUICK)
            task = asyncio.create_task(client.keep_one(delay=0))
            await until(lambda: requests)
            task.cancel()
            await asyncio.wait([task])
        return requests[0]

    assert asyncio.run(main()).complaint == "the connection was refused"
