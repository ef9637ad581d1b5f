"""Clients of a web server that ask again and again, on connections kept open and on new ones.

    python -m benchmarks.customer --to ADDRESS --port PORT --lasting N --fresh N --pause S --patience S CLIENT...

It says `begun` when all connections to be kept are open, stops when its standard input ends, and then writes down every
request: when it began, in seconds of the monotonic clock, whether on a kept connection, how long it took, and what went
wrong, null if nothing did. A kept connection that breaks is opened again.
"""

import argparse
import asyncio
import json
import sys
import time
from itertools import cycle

Request = tuple[float, bool, float, str | None]


class _Connection:
    """One connection, and one request at a time on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, *, last: bool) -> None:
        """Ask for the page. Raise OSError or EOFError if it does not come."""
        ending = "Connection: close\r\n" if last else ""
        self._writer.write(f"GET / HTTP/1.1\r\nHost: bench\r\n{ending}\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise OSError(head.split(b"\r\n", 1)[0].decode())
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await self._reader.readexactly(int(fields[b"content-length"]))

    def close(self) -> None:
        """End it."""
        self._writer.close()


class _Customers:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._addresses = cycle(options.clients)
        self.requests: list[Request] = []
        self.ended = asyncio.Event()

    async def lasting(self, opened: asyncio.Semaphore) -> None:
        """Ask on one connection for as long as it lasts, and open it again when it breaks."""
        connection = None
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._options.patience):
                    if connection is None:
                        connection = await self._connect()
                    await connection.ask(last=False)
            except (OSError, EOFError) as error:
                self._note(began, kept=True, complaint=f"{type(error).__name__} {error}")
                if connection is not None:
                    connection.close()
                connection = None
            else:
                self._note(began, kept=True, complaint=None)
                opened.release()
            await asyncio.sleep(self._options.pause)
        if connection is not None:
            connection.close()

    async def fresh(self) -> None:
        """Ask on a new connection each time."""
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                async with asyncio.timeout(self._options.patience):
                    connection = await self._connect()
                    try:
                        await connection.ask(last=True)
                    finally:
                        connection.close()
            except (OSError, EOFError) as error:
                self._note(began, kept=False, complaint=f"{type(error).__name__} {error}")
            else:
                self._note(began, kept=False, complaint=None)
            await asyncio.sleep(self._options.pause)

    async def _connect(self) -> _Connection:
        local = (next(self._addresses), 0)
        return _Connection(*await asyncio.open_connection(self._options.to, self._options.port, local_addr=local))

    def _note(self, began: float, *, kept: bool, complaint: str | None) -> None:
        self.requests.append((began, kept, time.monotonic() - began, complaint))


async def _run(options: argparse.Namespace) -> list[Request]:
    customers = _Customers(options)
    opened = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(options.lasting):
            tasks.create_task(customers.lasting(opened))
        for _ in range(options.lasting):
            await opened.acquire()
        for _ in range(options.fresh):
            tasks.create_task(customers.fresh())
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        customers.ended.set()
    return customers.requests


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--lasting", type=int, required=True)
    parser.add_argument("--fresh", type=int, required=True)
    parser.add_argument("--pause", type=float, required=True)
    parser.add_argument("--patience", type=float, required=True)
    parser.add_argument("clients", nargs="+")
    print(json.dumps(asyncio.run(_run(parser.parse_args()))))


if __name__ == "__main__":
    _main()
