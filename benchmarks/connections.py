"""Figure: new HTTP connections per second through the virtual IP, beside the same on one node without a filter."""

import os
import re
import shutil
from random import Random
from typing import Final, NamedTuple

from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.progress import say
from benchmarks.site import VIP, Site, site
from benchmarks.vip_farm import VipFarm

NODES: Final = ("web1", "web2", "web3")
ALONE: Final = "alone"
"The server that is no node."
DELIVERIES: Final = ("directed", "flooded")
CONNECTIONS: Final = 64
"That wrk keeps open at a time."


class Pair(NamedTuple):
    """Connections per second of two neighbouring runs."""

    shared: float
    alone: float


def measure(*, quick: bool) -> Figure:
    """Run wrk against the farm and the single server by turns."""
    if shutil.which("wrk") is None:
        raise CannotMeasureError("wrk is missing (apt-get install wrk)")
    pairs, seconds = (2, 1) if quick else (11, 2)
    found = {delivery: _pairs(delivery, pairs=pairs, seconds=seconds) for delivery in DELIVERIES}
    aim = Aim(limit=0.85, at_least=True, judged=Judged.MEDIAN, hoped=0.95)
    return Figure(
        title="New HTTP connections through the virtual IP",
        method=f"{len(NODES)} nodes in network namespaces on a Linux bridge, each with a real daemon (preset lan, "
        'filter tc, `by = "port"`, so that the connections of one client go to all nodes) and an nginx of one process; '
        "on another bridge one server with as many processes of nginx, and nothing else. wrk in a namespace of its "
        f"own, one thread, {CONNECTIONS} connections at a time, each for one request; {pairs} pairs of runs of "
        f"{seconds} s for each delivery, which of the two comes first is left to chance; a ratio is that of a pair. "
        "wrk has one core, all web servers together the other, and the daemons run all the time. What a bridge does on "
        "these cores (a second journey in directed delivery, copies for all nodes in flooded delivery), a switch does "
        "by itself.",
        tables=tuple(
            Table(
                title=f"delivery {delivery}",
                rows=(
                    Row(what=f"{len(NODES)} nodes", unit="connections/s", runs=tuple(pair.shared for pair in runs)),
                    Row(what="one, no filter", unit="connections/s", runs=tuple(pair.alone for pair in runs)),
                    Row(
                        what=f"{len(NODES)} nodes, to one, no filter",
                        unit="ratio",
                        runs=tuple(pair.shared / pair.alone for pair in runs),
                        aim=aim,
                    ),
                ),
            )
            for delivery, runs in found.items()
        ),
    )


def _pairs(delivery: str, *, pairs: int, seconds: int) -> list[Pair]:
    random = Random(delivery)
    found = []
    core = max(os.sched_getaffinity(0))
    with site(*NODES, web_core=core) as shared, site(ALONE, web_core=core) as single:
        farm = VipFarm(shared, NODES, preset="lan", delivery=delivery, by="port")
        farm.start()
        single.start_web(ALONE, workers=len(NODES))
        farm.await_served()
        addresses = {str(VIP): shared, single.addresses[ALONE]: single}
        for number in range(pairs):
            say(f"new connections, delivery {delivery}, pair {number + 1} of {pairs}")
            rates = {
                address: _connections_per_second(addresses[address], address, seconds=seconds)
                for address in random.sample(list(addresses), k=len(addresses))
            }
            found.append(Pair(*(rates[address] for address in addresses)))
    return found


def _connections_per_second(on: Site, address: str, *, seconds: int) -> float:
    core = str(min(os.sched_getaffinity(0)))
    command = ("taskset", "--cpu-list", core, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s")
    said = on.client.run(*command, "-H", "Connection: close", f"http://{address}/")
    rate = re.search(r"Requests/sec: +([0-9.]+)", said)
    if not rate or "Non-2xx" in said or "Socket errors" in said:
        raise CannotMeasureError(f"wrk met errors: {said}")
    return float(rate[1])
