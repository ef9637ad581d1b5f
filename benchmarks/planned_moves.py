"""Figure: how many new connections wait while buckets change hands because a node is drained, or comes back."""

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.figures import Aim, CannotMeasureError, Figure, Row, Table
from benchmarks.probing import Attempt, probing
from benchmarks.progress import say
from benchmarks.site import CLIENTS, site
from benchmarks.vip_farm import FARM, VipFarm

NODES: Final = ("web1", "web2", "web3")
AIMS: Final = {"directed": Aim(limit=0), "flooded": Aim(limit=10)}
"Of 100,000 connections, how many may be slow."
SLOW: Final = 0.3
"Seconds from which a connection is slow: who lost its SYN waits for 1 s."
EVERY, PATIENCE = 0.0006, 20.0
AROUND: Final = 0.5
"Seconds before a move, and after it, whose connections count."


class Move(NamedTuple):
    """The connections that began while a node was drained or came back."""

    connections: int
    slow: int
    longest: float
    "In seconds."


def measure(*, quick: bool) -> Figure:
    """Drain and resume nodes by turns, under load."""
    pairs = 3 if quick else 62
    found = {delivery: _moves(delivery, pairs=pairs) for delivery in AIMS}
    rate = sum(move.connections for moves in found.values() for move in moves) / (
        2 * AROUND * sum(map(len, found.values()))
    )
    return Figure(
        title="Planned moves: new connections that wait",
        method=f"{len(NODES)} nodes in network namespaces on a Linux bridge, each with a real daemon (preset lan, "
        f'filter tc, `by = "port"`) and an nginx. {len(CLIENTS)} addresses open about {rate:.0f} connections a second. '
        "Each node by turns is told to drain, the director among them, and to take traffic again. A move is the time "
        f"from {AROUND:g} s before to {AROUND:g} s after the command; a connection that has lost its SYN waits 1 s. "
        f"Slow is what took longer than {SLOW * 1000:g} ms until it was established.",
        tables=tuple(
            Table(
                title=f"delivery {delivery}, {len(moves)} moves",
                rows=(
                    Row(what="connections", unit="", runs=(float(sum(move.connections for move in moves)),)),
                    Row(what="slow", unit="", runs=(float(sum(move.slow for move in moves)),)),
                    Row(
                        what="slow, of 100,000",
                        unit="",
                        runs=(1e5 * sum(move.slow for move in moves) / sum(move.connections for move in moves),),
                        aim=AIMS[delivery],
                    ),
                    Row(what="longest wait of a move", unit="s", runs=tuple(move.longest for move in moves)),
                ),
            )
            for delivery, moves in found.items()
        ),
    )


def _moves(delivery: str, *, pairs: int) -> list[Move]:
    found = []
    with site(*NODES) as on:
        farm = VipFarm(on, NODES, preset="lan", delivery=delivery, by="port")
        farm.start()
        farm.await_served()
        for number in range(pairs):
            node = NODES[number % len(NODES)]
            say(f"planned moves, delivery {delivery}, {number + 1} of {pairs}: {node}")
            with probing(on, CLIENTS, every=EVERY, patience=PATIENCE) as clients:
                moved = []
                for action in ("drain", "resume"):
                    time.sleep(2 * AROUND)
                    moved.append(time.monotonic())
                    _act(on.directory / "s" / FARM / node / "control.sock", action)
                time.sleep(2 * AROUND)
                tried = clients.finish()
            found += [_move([one for one in tried if abs(one.began - at) <= AROUND]) for at in moved]
    return found


def _move(tried: list[Attempt]) -> Move:
    waits = [PATIENCE if one.took is None else one.took for one in tried]
    return Move(len(waits), sum(wait > SLOW for wait in waits), max(waits))


def _act(path: Path, action: str) -> None:
    """Give a node an order through its control socket."""
    connection = http.client.HTTPConnection("localhost", timeout=5)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection.sock:
        connection.sock.connect(str(path))
        connection.request("POST", f"/api/v1/actions/{action}", b"{}")
        answer = json.loads(connection.getresponse().read())
    if not answer["ok"]:
        raise CannotMeasureError(f"{action} was refused: {answer['text']}")
