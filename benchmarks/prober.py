"""A client that starts a connection at a steady pace and gives each so much time.

    python -m benchmarks.prober --to ADDRESS --port PORT --every SECONDS --patience SECONDS CLIENT_ADDRESS...

It says `begun` when it begins, begins no more when its standard input ends, waits for what it has begun, and then
writes down all that it tried: pairs of when each began, in seconds of the monotonic clock, and how long it took, null
if it gave up. It imports next to nothing, so as to begin soon.
"""

import argparse
import json
import selectors
import socket
import struct
import sys
import time
from itertools import cycle

_RESET_AT_CLOSE = struct.pack("ii", 1, 0)


def _connect(to: tuple[str, int], client: str) -> socket.socket:
    connection = socket.socket()
    connection.setblocking(False)  # noqa: FBT003 - the socket module takes it so
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    connection.bind((client, 0))
    connection.connect_ex(to)
    return connection


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--every", type=float, required=True)
    parser.add_argument("--patience", type=float, required=True)
    parser.add_argument("clients", nargs="+")
    options = parser.parse_args()
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    begun: dict[socket.socket, float] = {}
    tried: list[tuple[float, float | None]] = []

    def end(connection: socket.socket, took: float | None) -> None:
        tried.append((begun.pop(connection), took))
        selector.unregister(connection)
        connection.close()

    clients = cycle(options.clients)
    due: float | None = time.monotonic()
    print("begun", flush=True)
    while due is not None or begun:
        now = time.monotonic()
        if due is not None and now >= due:
            connection = _connect((options.to, options.port), next(clients))
            begun[connection] = now
            selector.register(connection, selectors.EVENT_WRITE)
            # Who was held up does not make up for it.
            due = max(due + options.every, now)
        nearest = min(begun.values(), default=now) + options.patience
        limit = min(nearest, nearest if due is None else due)
        for key, _ in selector.select(max(0.0, limit - time.monotonic())):
            if key.fileobj is sys.stdin:
                selector.unregister(sys.stdin)
                due = None
                continue
            answered = key.fileobj
            assert isinstance(answered, socket.socket)  # noqa: S101 - nothing else was registered
            failed = answered.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            end(answered, None if failed else time.monotonic() - begun[answered])
        now = time.monotonic()
        for connection in [one for one, began in begun.items() if now >= began + options.patience]:
            end(connection, None)
    print(json.dumps(sorted(tried)))


if __name__ == "__main__":
    _main()
