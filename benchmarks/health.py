"""Figure: how many probes /health answers, how long one takes beside idle connections, how soon a change is told."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import quantiles
from typing import IO

from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.progress import say

OURS, PEER = "ours", "aiohttp"
KINDS = (OURS, PEER)
CONNECTIONS = 32
"Of wrk."
IDLE = 500
"Connections that are idle or half-open while a prober polls."
LEAST_RATIO = 0.9
TURN_LIMIT = 20.0
"Milliseconds from the decision to a changed answer."
LIMIT = 10.0
"Seconds that anything single may take."
_ONE_PROBE = b"GET /health HTTP/1.0\r\n\r\n"
_POLL = b"GET /health HTTP/1.1\r\nHost: web1\r\n\r\n"


class Server:
    """One that answers /health in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], stdin: IO[str], stdout: IO[str]) -> None:
        self._process = process
        self._stdin = stdin
        self._stdout = stdout
        self.port = int(stdout.readline())

    def order_turn(self) -> None:
        """Have the answer turned soon."""
        print(file=self._stdin, flush=True)

    def turned_at(self) -> int:
        """Give when the ordered turn was, in nanoseconds of the monotonic clock."""
        return int(self._stdout.readline())


def measure(*, quick: bool) -> Figure:
    """Run the two servers by turns."""
    if shutil.which("wrk") is None:
        raise CannotMeasureError("wrk is missing (apt-get install wrk)")
    pairs, seconds, probes, turns = (2, 1, 300, 20) if quick else (9, 5, 3000, 200)
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(_server(kind)) for kind in KINDS}
        tables = (
            _throughput(servers, "connections that stay", (), pairs=pairs, seconds=seconds),
            _throughput(servers, "a connection each", ("-H", "Connection: close"), pairs=pairs, seconds=seconds),
            _latency(servers, runs=pairs, probes=probes),
            _turning(servers[OURS], turns=turns),
        )
    return Figure(
        title="The health URL",
        method="Each server is a process of its own on loopback; the peer is a bare aiohttp handler that answers `OK`. "
        f"Requests per second: wrk, one thread, {CONNECTIONS} connections, {seconds} s a run, the servers by turns; a "
        f"ratio is that of two neighbouring runs. Prober: {probes} probes a run, one after the other, each connecting, "
        f"asking by HTTP/1.0 and reading to the end; beside it none or {IDLE} connections, half of them after an "
        "answer, half with half a request sent. Change: from set_answer in the server to the end of the first "
        "changed answer at a client that polls without pause.",
        tables=tables,
    )


def _throughput(servers: dict[str, Server], what: str, options: tuple[str, ...], *, pairs: int, seconds: int) -> Table:
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for run in range(pairs):
        for kind in KINDS:
            say(f"/health, {what}: run {run + 1} of {pairs}, {kind}")
            rates[kind].append(_requests_per_second(servers[kind].port, options, seconds=seconds))
    ratios = tuple(ours / peer for ours, peer in zip(rates[OURS], rates[PEER], strict=True))
    return Table(
        title=f"/health, {what}",
        rows=(
            Row(what=f"{what}: ours", unit="requests/s", runs=tuple(rates[OURS])),
            Row(what=f"{what}: bare aiohttp", unit="requests/s", runs=tuple(rates[PEER])),
            Row(
                what=f"{what}: ours to bare aiohttp",
                unit="ratio",
                runs=ratios,
                aim=Aim(limit=LEAST_RATIO, at_least=True, judged=Judged.MEDIAN),
            ),
        ),
    )


def _requests_per_second(port: int, options: tuple[str, ...], *, seconds: int) -> float:
    command = ("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *options, f"http://127.0.0.1:{port}/health")
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + LIMIT).stdout
    rate = re.search(r"Requests/sec: +([0-9.]+)", said)
    if not rate or "Non-2xx" in said or "Socket errors" in said:
        raise CannotMeasureError(f"wrk met errors: {said}")
    return float(rate[1])


def _latency(servers: dict[str, Server], *, runs: int, probes: int) -> Table:
    times: dict[tuple[str, int], list[float]] = {(kind, idle): [] for kind in KINDS for idle in (0, IDLE)}
    for run in range(runs):
        for (kind, idle), found in times.items():
            say(f"/health, one prober beside {idle} idle connections: run {run + 1} of {runs}, {kind}")
            with _idle_connections(servers[kind].port, idle):
                found.append(_p99(servers[kind].port, probes))
    names = {OURS: "ours", PEER: "bare aiohttp"}
    rows = [
        Row(what=f"{names[kind]}, {idle} idle connections beside: p99", unit="ms", runs=tuple(found))
        for (kind, idle), found in times.items()
    ]
    for kind in KINDS:
        crowded, alone = times[kind, IDLE], times[kind, 0]
        ratios = tuple(beside / none for beside, none in zip(crowded, alone, strict=True))
        rows.append(Row(what=f"{names[kind]}, p99 beside {IDLE} to beside none", unit="ratio", runs=ratios))
    return Table(title="one prober, a connection per probe", rows=tuple(rows))


def _p99(port: int, probes: int) -> float:
    """Give the 99th percentile of the time that a probe takes, in milliseconds."""
    times = []
    for _ in range(probes):
        began = time.monotonic_ns()
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as prober:
            prober.sendall(_ONE_PROBE)
            answer = b""
            while chunk := prober.recv(4096):
                answer += chunk
        times.append((time.monotonic_ns() - began) / 1e6)
        if b" 200 OK\r\n" not in answer:
            raise CannotMeasureError(f"a probe was answered {answer!r}")
    return quantiles(times, n=100)[98]


@contextmanager
def _idle_connections(port: int, number: int) -> Iterator[None]:
    """Hold connections; all must still be there at the end."""
    with ExitStack() as stack:
        held = []
        for index in range(number):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=LIMIT))
            if index % 2:
                connection.sendall(_POLL[:20])
            else:
                connection.sendall(_POLL)
                _read_answer(connection)
            held.append(connection)
        yield
        for connection in held:
            connection.settimeout(0)
            try:
                left = connection.recv(1)
            except BlockingIOError:
                continue
            raise CannotMeasureError(f"an idle connection was not left idle: {left!r}")


def _turning(server: Server, *, turns: int) -> Table:
    say(f"/health, {turns} turns of the answer")
    times: dict[int, list[float]] = {0: [], IDLE: []}
    for idle, found in times.items():
        with (
            _idle_connections(server.port, idle),
            socket.create_connection(("127.0.0.1", server.port), timeout=LIMIT) as poller,
        ):
            before = _poll(poller)
            for _ in range(turns):
                server.order_turn()
                while (status := _poll(poller)) == before:
                    pass
                seen = time.monotonic_ns()
                before = status
                found.append((seen - server.turned_at()) / 1e6)
    return Table(
        title="from set_answer to the changed answer at a client",
        rows=tuple(
            Row(what=f"change, {idle} idle connections beside", unit="ms", runs=tuple(found), aim=Aim(limit=TURN_LIMIT))
            for idle, found in times.items()
        ),
    )


def _poll(connection: socket.socket) -> bytes:
    """Ask once more, and give the status line."""
    connection.sendall(_POLL)
    return _read_answer(connection).partition(b"\r\n")[0]


def _read_answer(connection: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith((b"\r\n\r\nOK\n", b"\r\n\r\nNOT FOUND\n")):
        chunk = connection.recv(4096)
        if not chunk:
            raise CannotMeasureError(f"the server closed after {answer!r}")
        answer += chunk
    return answer


@contextmanager
def _server(kind: str) -> Iterator[Server]:
    command = ["setpriv", "--pdeathsig=KILL", "--", sys.executable, "-m", "benchmarks.health_server", kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise CannotMeasureError("the server has no pipes")
        try:
            yield Server(process, process.stdin, process.stdout)
        finally:
            process.kill()
