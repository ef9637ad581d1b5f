"""Figure: new HTTP connections per second through the virtual IP, beside the same on one node without a filter."""

import os
import re
import shutil
from random import Random
from typing import Final

from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.progress import say
from benchmarks.site import VIP, Site, site
from benchmarks.vip_farm import VipFarm

NODES: Final = ("web1", "web2", "web3")
ALONE: Final = "alone"
IDLE: Final = ("idle1", "idle2")
"Servers beside the one that is alone, so that its switch has as many ports as the farm's."
FARM, ONE, ONE_FLOODED = "3 nodes", "one, no filter", "one, no filter, its packets flooded too"
PEERS: Final = {"directed": (ONE,), "flooded": (ONE_FLOODED, ONE)}
"What each delivery is compared with; the first has the aim."
CONNECTIONS: Final = 64
"That wrk keeps open at a time."


def measure(*, quick: bool) -> Figure:
    """Run wrk against the farm and the single server by turns."""
    if shutil.which("wrk") is None:
        raise CannotMeasureError("wrk is missing (apt-get install wrk)")
    rounds, seconds = (2, 1) if quick else (11, 2)
    found = {delivery: _rates(delivery, rounds=rounds, seconds=seconds) for delivery in PEERS}
    return Figure(
        title="New HTTP connections through the virtual IP",
        method=f"{len(NODES)} nodes in network namespaces on a Linux bridge, each with a real daemon (preset lan, "
        'filter tc, `by = "port"`, so that the connections of one client go to all nodes) and an nginx of one process; '
        "on another bridge, beside as many servers that do nothing, one with the same nginx and no daemon. wrk in a "
        f"namespace of its own, one thread, {CONNECTIONS} connections at a time, each for one request; {rounds} "
        f"rounds of runs of {seconds} s, their order left to chance; a ratio is that of two runs of a round. wrk has "
        "one core, all web servers together the other, and the daemons run all the time. In flooded delivery the "
        "bridge copies each packet to every node, on the same cores, which a real switch does by itself: the aim is "
        "for the server whose packets are flooded as well.",
        tables=tuple(_table(delivery, rates) for delivery, rates in found.items()),
    )


def _table(delivery: str, rates: dict[str, list[float]]) -> Table:
    aims = {PEERS[delivery][0]: Aim(limit=0.85, at_least=True, judged=Judged.MEDIAN, hoped=0.95)}
    return Table(
        title=f"delivery {delivery}",
        rows=(
            *(Row(what=what, unit="connections/s", runs=tuple(runs)) for what, runs in rates.items()),
            *(
                Row(
                    what=f"{FARM}, to {peer}",
                    unit="ratio",
                    runs=tuple(ours / its for ours, its in zip(rates[FARM], rates[peer], strict=True)),
                    aim=aims.get(peer),
                )
                for peer in PEERS[delivery]
            ),
        ),
    )


def _rates(delivery: str, *, rounds: int, seconds: int) -> dict[str, list[float]]:
    random = Random(delivery)
    rates: dict[str, list[float]] = {what: [] for what in (FARM, *PEERS[delivery])}
    core = max(os.sched_getaffinity(0))
    with site(*NODES, web_core=core) as shared, site(ALONE, *IDLE, web_core=core) as single:
        farm = VipFarm(shared, NODES, preset="lan", delivery=delivery, by="port")
        farm.start()
        single.start_web(ALONE)
        farm.await_served()
        for number in range(rounds):
            say(f"new connections, delivery {delivery}, round {number + 1} of {rounds}")
            for what in random.sample(list(rates), k=len(rates)):
                if what == FARM:
                    rate = _connections_per_second(shared, str(VIP), seconds=seconds)
                else:
                    single.flood(ALONE, everywhere=what == ONE_FLOODED)
                    rate = _connections_per_second(single, single.addresses[ALONE], seconds=seconds)
                rates[what].append(rate)
    return rates


def _connections_per_second(on: Site, address: str, *, seconds: int) -> float:
    core = str(min(os.sched_getaffinity(0)))
    command = ("taskset", "--cpu-list", core, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s")
    said = on.client.run(*command, "-H", "Connection: close", f"http://{address}/")
    rate = re.search(r"Requests/sec: +([0-9.]+)", said)
    if not rate or "Non-2xx" in said or "Socket errors" in said:
        raise CannotMeasureError(f"wrk met errors: {said}")
    return float(rate[1])
