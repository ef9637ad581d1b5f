"""The clients of the virtual IP: a process in their namespace that sends requests from many addresses.

`python -m hcsidecar.demo.clients HOST PORT ADDRESS...` sends requests until it is ended, and writes each one as a line
of JSON (`hcsidecar.demo.judge.Request`). From each address it makes new connections at intervals, and keeps one more
open, which shows whether a change among the servers breaks existing connections. If the kept connection has ended, the
request goes over a new one, as with every HTTP client (RFC 9110, section 9.2.2), and the line says so.
"""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count

import msgspec

from hcsidecar.demo.judge import Request
from hcsidecar.demo.traffic import name_in

_LENGTH = re.compile(r"\r\ncontent-length: *(\d{1,5})\r\n", re.IGNORECASE)

SocketAddress = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRate:
    """How often a client sends requests, and how long it waits; in seconds."""

    new_every: float = 0.4
    "Time between two new connections."
    ask_every: float = 0.5
    "Time between an answer over the kept connection and the next request."
    patience: float = 2.0
    "Time limit for an answer. It allows for a lost SYN, which is repeated after one second (RFC 6298, section 2)."


DEFAULT_PACE = RequestRate()


class NotAnAnswerError(Exception):
    """Raised if the answer is not the page; the text says what it is."""


class WebConnection:
    """A connection to a web server, for one request after the other."""

    def __init__(self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer

    @classmethod
    async def make(cls, target: SocketAddress, source: str) -> "WebConnection":
        """Connect from an address. Raise OSError if that fails."""
        return cls(target[0], *await asyncio.open_connection(*target, local_addr=(source, 0)))

    async def ask(self) -> str:
        """Request the page, and return the name of the server in it.

        Raise OSError or EOFError if the connection ends before the answer, NotAnAnswerError if that is not the page.
        """
        self._writer.write(f"GET / HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.LimitOverrunError:
            raise NotAnAnswerError("no end of the headers") from None
        length = _LENGTH.search(head)
        if not head.startswith("HTTP/1.1 200 ") or length is None:
            raise NotAnAnswerError(head.partition("\r\n")[0])
        name = name_in(await self._reader.readexactly(int(length[1])))
        if name is None:
            raise NotAnAnswerError("a page that names no server")
        return name

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        self._writer.close()


class VipClient:
    """The client with one address, and the connection that it keeps."""

    def __init__(
        self, target: SocketAddress, source: str, *, tell: Callable[[Request], None], pace: RequestRate = DEFAULT_PACE
    ) -> None:
        self._target = target
        self._source = source
        self._pace = pace
        self._tell = tell
        self._kept: WebConnection | None = None
        self._now = asyncio.get_running_loop().time

    async def make_new_ones(self, *, delay: float) -> None:
        """Make new connections with one request each, until cancelled."""
        async with asyncio.TaskGroup() as under_way:
            begin = self._now() + delay
            for number in count():
                # Started by the clock, because a request that waits must not delay the next ones.
                await asyncio.sleep(begin + number * self._pace.new_every - self._now())
                under_way.create_task(self._tell_of(self._ask_anew, kept=False))

    async def keep_one(self, *, delay: float) -> None:
        """Send requests over the kept connection until cancelled."""
        await asyncio.sleep(delay)
        try:
            while True:
                await self._tell_of(self._ask_on, kept=True)
                await asyncio.sleep(self._pace.ask_every)
        finally:
            if self._kept is not None:
                self._kept.close()

    async def _tell_of(self, ask: Callable[[], Awaitable[tuple[str, str | None]]], *, kept: bool) -> None:
        began = self._now()
        server = complaint = lost = None
        try:
            async with asyncio.timeout(self._pace.patience):
                server, lost = await ask()
        except TimeoutError:
            complaint = f"no answer in {self._pace.patience:g} s"
        except (OSError, EOFError, NotAnAnswerError) as error:
            complaint = _in_words(error)
        request = Request(
            began=began,
            ended=self._now(),
            server=server,
            complaint=complaint,
            client=self._source,
            kept=kept,
            lost=lost,
        )
        self._tell(request)

    async def _ask_anew(self) -> tuple[str, None]:
        connection = await WebConnection.make(self._target, self._source)
        try:
            return await connection.ask(), None
        finally:
            connection.close()

    async def _ask_on(self) -> tuple[str, str | None]:
        """Send a request over the kept connection, or over a new one if it was lost; return who answered, and how."""
        lost = None
        # A connection whose request fails, or is cancelled because of the time limit, is not kept.
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                server = await _ask_or_close(kept)
            except (OSError, EOFError) as error:
                lost = _in_words(error)
            else:
                self._kept = kept
                return server, None
        connection = await WebConnection.make(self._target, self._source)
        server = await _ask_or_close(connection)
        self._kept = connection
        return server, lost


async def _ask_or_close(connection: WebConnection) -> str:
    try:
        return await connection.ask()
    except BaseException:
        connection.close()
        raise


def _in_words(error: Exception) -> str:
    match error:
        case EOFError():
            return "the server hung up"
        case ConnectionRefusedError():
            return "the connection was refused"
        case ConnectionResetError():
            return "the connection was reset"
        case _:
            return str(error)


async def _ask_from(target: SocketAddress, sources: Sequence[str]) -> None:
    def tell(request: Request) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(request) + b"\n")
        sys.stdout.buffer.flush()

    async with asyncio.TaskGroup() as tasks:
        for number, source in enumerate(sources):
            client = VipClient(target, source, tell=tell)
            # Spread over time, so that the clients do not all start at once.
            tasks.create_task(client.make_new_ones(delay=number * DEFAULT_PACE.new_every / len(sources)))
            tasks.create_task(client.keep_one(delay=number * DEFAULT_PACE.ask_every / len(sources)))


if __name__ == "__main__":
    _, _host, _port, *_sources = sys.argv
    asyncio.run(_ask_from((_host, int(_port)), _sources))
