"""Clients: many addresses that open connections to a virtual IP at a rate, and others that keep theirs for long.

They live in a thread of their own, with an event loop, inside the namespace of one host. Every attempt leaves a
record; a test asks the records afterwards, or waits for them to say something.
"""

import asyncio
import contextlib
import itertools
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from daemons import wait_for
from lan.namespaces import enter
from lan.web import PORT

_QUESTION = b"GET / HTTP/1.1\r\nHost: vip\r\n%s\r\n"
_LAST = _QUESTION % b"Connection: close\r\n"
_NEXT = _QUESTION % b""


class Failure(Enum):
    """How a client was let down."""

    REFUSED = "refused"
    RESET = "reset"
    TIMEOUT = "no answer in time"
    CLOSED = "closed before the answer"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One connection with one question. Times are seconds of the monotonic clock."""

    client: str
    port: int
    "The client's."
    began: float
    connected: float | None = None
    ended: float
    server: str | None = None
    "Who answered."
    failure: Failure | None = None


class Newcomers:
    """Client addresses that take turns in opening connections; each asks once, is answered, and leaves."""

    def __init__(self, vip, clients, *, rate, timeout, port):
        self.attempts = []
        self._to = (vip, port)
        self._clients = itertools.cycle(clients)
        self._every = 1 / rate
        self._timeout = timeout
        self._ends = False
        self._running = set()

    def end(self):
        """Open no more."""
        self._ends = True

    @property
    def failed(self):
        """The attempts that came to nothing."""
        return [attempt for attempt in self.attempts if attempt.failure]

    def served(self, *, since=0.0):
        """Count by server the attempts begun after `since` that were answered."""
        return Counter(attempt.server for attempt in self.attempts if attempt.server and attempt.began > since)

    def served_clients(self, *, since):
        """Give the clients that were answered in an attempt that began after `since`."""
        return {attempt.client for attempt in self.attempts if attempt.server and attempt.began > since}

    def wait_for_more(self, count, *, limit=30.0):
        """Wait until so many more attempts have ended."""
        wanted = len(self.attempts) + count
        wait_for(lambda: len(self.attempts) >= wanted, limit=limit, what=f"{count} more attempts")

    async def live(self):
        """Open connections until the end, and see the last ones through."""
        due = time.monotonic()
        while not self._ends:
            due = max(due + self._every, time.monotonic() - 0.1)
            task = asyncio.create_task(self._attempt(next(self._clients)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            await asyncio.sleep(due - time.monotonic())
        if self._running:
            await asyncio.gather(*self._running)

    async def _attempt(self, client):
        began = time.monotonic()
        said = {}
        try:
            async with asyncio.timeout(self._timeout):
                await self._ask(client, said)
            failure = None if said.get("server") else Failure.CLOSED
        except OSError as error:
            failure = _failure(error)
        self.attempts.append(
            Attempt(
                client=client,
                port=said.get("port", 0),
                began=began,
                connected=said.get("connected"),
                ended=time.monotonic(),
                server=said.get("server"),
                failure=failure,
            )
        )

    async def _ask(self, client, said):
        loop = asyncio.get_running_loop()
        with _socket_of(client) as mine:
            said["port"] = mine.getsockname()[1]
            await loop.sock_connect(mine, self._to)
            said["connected"] = time.monotonic()
            await loop.sock_sendall(mine, _LAST)
            answer = b""
            while chunk := await loop.sock_recv(mine, 4096):
                answer += chunk
            said["server"] = _server_in(answer)


class Regular:
    """A client that keeps one connection, and asks on it again and again."""

    def __init__(self, vip, client, *, every, timeout):
        self.client = client
        self.port = 0
        "Its own."
        self.answers = Counter()
        "By server; one connection has one."
        self.failure = None
        self.failed_at = None
        "Seconds of the monotonic clock."
        self.ends = False
        self._vip = vip
        self._every = every
        self._timeout = timeout

    def __str__(self):
        return f"{self.client}:{self.port} {dict(self.answers)} {self.failure}"

    @property
    def server(self):
        """Who answers."""
        return next(iter(self.answers), None)

    async def live(self):
        """Ask until the end."""
        loop = asyncio.get_running_loop()
        with _socket_of(self.client) as mine:
            self.port = mine.getsockname()[1]
            try:
                async with asyncio.timeout(self._timeout):
                    await loop.sock_connect(mine, (self._vip, PORT))
                while not self.ends:
                    async with asyncio.timeout(self._timeout):
                        await loop.sock_sendall(mine, _NEXT)
                        answer = await loop.sock_recv(mine, 4096)
                    if not answer:
                        self.failure = Failure.CLOSED
                        break
                    self.answers[_server_in(answer)] += 1
                    await asyncio.sleep(self._every)
            except OSError as error:
                self.failure = _failure(error)
            if self.failure:
                self.failed_at = time.monotonic()


class Regulars:
    """Many who keep their connections."""

    def __init__(self, vip, clients, *, every, timeout):
        self.all = [Regular(vip, client, every=every, timeout=timeout) for client in clients]

    def end(self):
        """Ask no more."""
        for regular in self.all:
            regular.ends = True

    @property
    def failed(self):
        """Those whose connection has ended without their wish."""
        return [regular for regular in self.all if regular.failure]

    def of(self, server):
        """Those whom this server answers."""
        return [regular for regular in self.all if regular.server == server]

    def wait_for_answers(self, count=1, *, limit=15.0):
        """Wait until everybody who still has a connection has got so many more answers."""
        before = {regular: regular.answers.total() for regular in self.all}

        def all_have():
            return all(regular.failure or regular.answers.total() >= had + count for regular, had in before.items())

        wait_for(all_have, limit=limit, what=f"{count} more answers for everybody")

    async def live(self):
        """Let all live until the end."""
        await asyncio.gather(*(regular.live() for regular in self.all))


class Crowd:
    """The clients of one host, in the thread that `crowd` runs."""

    def __init__(self, namespace):
        self._namespace = namespace
        self._lives = []
        self._is_there = threading.Event()

    def newcomers(self, vip, clients, *, rate=500, timeout=5.0, port=PORT):
        """Let these addresses open `rate` connections a second, each given up after `timeout` seconds."""
        return self._start(Newcomers(vip, clients, rate=rate, timeout=timeout, port=port))

    def regulars(self, vip, clients, *, every=0.25, timeout=5.0):
        """Let each of these addresses keep a connection, and ask on it with this pause, in seconds."""
        found = self._start(Regulars(vip, clients, every=every, timeout=timeout))
        found.wait_for_answers()
        assert not found.failed, [str(regular) for regular in found.failed]
        return found

    def end(self, *lives):
        """End some of them, or all, and wait until the last attempt is over."""
        for life, future in [(life, future) for life, future in self._lives if life in lives or not lives]:
            life.end()
            future.result(30)
            self._lives.remove((life, future))

    def arrive(self):
        """Wait until the thread is in its namespace."""
        assert self._is_there.wait(5), "the clients' thread has not started"

    def leave(self):
        """End the thread, whatever its clients do."""
        self._loop.call_soon_threadsafe(self._told.set)

    def live(self):
        """Be the thread."""
        with Path("/run/netns", self._namespace).open() as there:
            enter(there)
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._stay())

    async def _stay(self):
        self._loop = asyncio.get_running_loop()
        self._told = asyncio.Event()
        self._is_there.set()
        await self._told.wait()

    def _start(self, life):
        self._lives.append((life, asyncio.run_coroutine_threadsafe(life.live(), self._loop)))
        return life


@contextlib.contextmanager
def crowd(host):
    """Run a thread for the clients of a host; end them with the block."""
    made = Crowd(host.namespace)
    thread = threading.Thread(target=made.live, name=f"crowd of {host.name}")
    thread.start()
    made.arrive()
    try:
        yield made
        made.end()
    finally:
        made.leave()
        thread.join(10)


def _socket_of(client):
    made = socket.socket(socket.AF_INET6 if ":" in client else socket.AF_INET)
    made.settimeout(0)
    made.bind((client, 0))
    return made


def _server_in(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    return body.decode().strip() if head.startswith(b"HTTP/1.1 200") else None


def _failure(error):
    match error:
        case TimeoutError():
            return Failure.TIMEOUT
        case ConnectionRefusedError():
            return Failure.REFUSED
        case ConnectionResetError() | BrokenPipeError():
            return Failure.RESET
        case _:
            return Failure.UNREACHABLE
