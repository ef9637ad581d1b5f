"""Figure: how long the clients of a server are without service when its plug is pulled; beside it keepalived."""

import time
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from benchmarks import keepalived
from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.probing import longest_gap, probing
from benchmarks.progress import say
from benchmarks.site import CLIENTS, VIP, Site, site
from benchmarks.vip_farm import VipFarm
from benchmarks.wire import INTERFACE

NODES = ("web1", "web2", "web3")
MASTER, BACKUP = "ka1", "ka2"
LIMITS = {"lan": 0.7, "fast": 0.3}
"Seconds that a failover may take."
INTERVALS = (0.1, 1.0)
"Of keepalived's advertisements, in seconds; 1 s is its default."
EVERY, PATIENCE = 0.01, 0.03
"Seconds between two connections of the impatient client, and what it gives to each."
ORDINARY_EVERY, ORDINARY_PATIENCE = 0.02, 20.0
SETTLED = 0.5
"Seconds of service before the plug is pulled, and at least as many after service is back."


class Failover(NamedTuple):
    """What clients of the server that was cut have seen, in seconds."""

    gap: float
    "Between two answered connections of the impatient client."
    longest_wait: float
    "Of an ordinary client for its connection."


def measure(*, quick: bool) -> Figure:
    """Pull the plugs of our nodes and of keepalived's masters."""
    runs = 2 if quick else 20
    found = {f"ours, preset {preset}": _ours(preset, runs=runs) for preset in LIMITS}
    aims = {f"ours, preset {preset}": Aim(limit=limit) for preset, limit in LIMITS.items()}
    notes: tuple[str, ...] = ()
    try:
        found |= {f"keepalived, advert_int {interval:g} s": _keepalived(interval, runs=runs) for interval in INTERVALS}
    except CannotMeasureError as error:
        notes = (f"No peer in this run: {error}.",)
    return Figure(
        title="Failover as clients see it: the plug of their server is pulled",
        method="Servers in network namespaces on a Linux bridge, each with an nginx; ours: "
        f'{len(NODES)} nodes, directed delivery, filter tc, `by = "address"`, a node chosen by chance; keepalived: '
        "two, and the master. The server's cable goes dead at a random moment, and daemon and web server are killed at "
        "once. Its clients, addresses that it served until then, start a connection every "
        f"{EVERY * 1000:g} ms by turns and give each {PATIENCE * 1000:g} ms: the gap is the longest time between the "
        "beginnings of two answered connections. Ordinary clients connect at the same time, every "
        f"{ORDINARY_EVERY * 1000:g} ms, and wait as long as it takes: the kernel sends their SYN again after 1 s; "
        "theirs is the longest wait of each run.",
        tables=(
            Table(
                title="a connection every 10 ms, given 30 ms",
                rows=(
                    *(
                        Row(what=f"{name}: gap", unit="s", runs=tuple(one.gap for one in runs), aim=aims.get(name))
                        for name, runs in found.items()
                    ),
                    *_ahead(found),
                ),
            ),
            Table(
                title="ordinary clients",
                rows=tuple(
                    Row(what=f"{name}: longest wait", unit="s", runs=tuple(one.longest_wait for one in runs))
                    for name, runs in found.items()
                ),
            ),
        ),
        notes=notes,
    )


def _ahead(found: dict[str, list[Failover]]) -> Iterator[Row]:
    ours = found["ours, preset fast"]
    for interval in INTERVALS:
        peer = found.get(f"keepalived, advert_int {interval:g} s")
        if peer is not None:
            yield Row(
                what=f"ours, preset fast, to keepalived, advert_int {interval:g} s: gap",
                unit="ratio",
                runs=tuple(one.gap / other.gap for one, other in zip(ours, peer, strict=True)),
                aim=Aim(limit=1, judged=Judged.MEDIAN),
            )


def _ours(preset: str, *, runs: int) -> list[Failover]:
    random = Random(preset)
    found = []
    with site(*NODES) as on:
        farm = VipFarm(on, NODES, preset=preset, delivery="directed", by="address")
        farm.start()
        for run in range(runs):
            shares = farm.await_served()
            victim = random.choice(NODES)
            say(f"ours, preset {preset}, run {run + 1} of {runs}: {victim} is cut off")
            found.append(_fail_over(on, victim, shares[victim], random))
            on.mend(victim)
            farm.start(victim)
    return found


def _keepalived(interval: float, *, runs: int) -> list[Failover]:
    why = keepalived.why_not()
    if why is not None:
        raise CannotMeasureError(why)
    random = Random(interval)
    found = []
    with site(MASTER, BACKUP) as on:
        for name in (BACKUP, MASTER):
            _start_keepalived(on, name, interval)
        for run in range(runs):
            on.wait_until(lambda: on.who_serves(CLIENTS[0]) == MASTER, what=f"keepalived on {MASTER} has the VIP")
            say(f"keepalived, advert_int {interval:g}, run {run + 1} of {runs}")
            found.append(_fail_over(on, MASTER, CLIENTS, random))
            on.servers[MASTER].ip("address", "flush", "dev", INTERFACE, "to", str(VIP))
            on.mend(MASTER)
            _start_keepalived(on, MASTER, interval)
    return found


def _start_keepalived(on: Site, name: str, interval: float) -> None:
    on.start_web(name)
    priority = 150 if name == MASTER else 100
    address = f"{VIP}/24"
    on.start(
        name,
        *keepalived.command(
            on.directory, name, priority=priority, interval=interval, interface=INTERFACE, address=address
        ),
    )


def _fail_over(on: Site, victim: str, clients: tuple[str, ...], random: Random) -> Failover:
    """Cut a server off while its clients connect."""
    with (
        probing(on, clients, every=EVERY, patience=PATIENCE) as impatient,
        probing(on, clients, every=ORDINARY_EVERY, patience=ORDINARY_PATIENCE) as ordinary,
    ):
        # A pulse is at most 0.1 s: the moment in it is left to chance.
        time.sleep(SETTLED + 0.1 * random.random())
        on.cut(victim)
        on.wait_until(lambda: on.who_serves(clients[0], patience=0.1) not in (None, victim), what="others take over")
        time.sleep(SETTLED)
        tried, patient = impatient.finish(), ordinary.finish()
    waits = [attempt.took for attempt in patient]
    if None in waits:
        raise CannotMeasureError(f"an ordinary client was not served within {ORDINARY_PATIENCE:g} s")
    return Failover(gap=longest_gap(tried), longest_wait=max(wait for wait in waits if wait is not None))
