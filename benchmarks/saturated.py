"""Figure: no false death and no lapse of a lease while other processes want all of every core."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from benchmarks.figures import Aim, CannotMeasureError, Figure, Row, Table
from benchmarks.keepalived import BACKUP, MASTER, Pair, keepalived_pair
from benchmarks.processes import end, start_python
from benchmarks.progress import say
from benchmarks.real_farm import RealFarm, real_farm
from hcsidecar.core.farmfile.farm_file import PRESETS

LOOPS_PER_CORE = 2
SIZE = 3
LAN = PRESETS["lan"]
COUNTED = {
    "deaths declared": "is dead: silent",
    "lapses of the lease": "the lease ran out",
    "times that it started again": "this node stood still",
    "changes of the view": "view: ",
}
"What the log of a daemon says of each."


def measure(*, quick: bool) -> Figure:
    """Load every core for ten minutes."""
    seconds = 20.0 if quick else 600.0
    notes: list[str] = []
    with ExitStack() as stack:
        farms = {realtime: stack.enter_context(real_farm(size=SIZE, realtime=realtime)) for realtime in (True, False)}
        for farm in farms.values():
            farm.await_settled(since=farm.start())
            time.sleep(LAN.lost_after)
        pair: Pair | None = None
        try:
            pair = stack.enter_context(keepalived_pair(interval=0.1))
        except CannotMeasureError as error:
            notes.append(f"No peer in this run: {error}.")
        loops = (os.cpu_count() or 1) * LOOPS_PER_CORE
        say(f"{loops} busy loops for {seconds:g} s beside two farms of {SIZE}")
        before = pair.takeovers(MASTER) + pair.takeovers(BACKUP) if pair else 0
        began = time.time()
        with busy_loops(loops):
            gaps = _listen(list(farms.values()), seconds)
        tables = [_table(realtime, farm, gaps[index], began) for index, (realtime, farm) in enumerate(farms.items())]
        if pair:
            takeovers = pair.takeovers(MASTER) + pair.takeovers(BACKUP) - before
            row = Row(what="takeovers, advert_int 0.1 s", unit="", runs=(takeovers,))
            tables.append(Table(title="peer: keepalived under the same load", rows=(row,)))
    return Figure(
        title=f"Every core saturated for {seconds:g} s: false deaths and lapses",
        method=f"{loops} endless loops at normal priority on {os.cpu_count()} cores, and beside them, at the same "
        f"time, two real farms of {SIZE} (preset lan: pulse {LAN.pulse * 1000:g} ms, lost_after "
        f"{LAN.lost_after * 1000:g} ms), one with `[heartbeat] realtime = true`, one with false. Every daemon is a "
        "run. Counted in the daemons' logs. The longest delay of a heartbeat is what the silence between two of them "
        "was longer than a pulse, by the kernel's time stamps at a silent node of the farm. Peer: a pair of "
        "keepalived at normal priority, which falls over after 0.36 s of silence.",
        tables=tuple(tables),
        notes=tuple(notes),
    )


def _listen(farms: list[RealFarm], seconds: float) -> list[dict[str, float]]:
    """Hear the farms for a while; give the longest silence of each node of each of them, in seconds."""
    last: list[dict[str, float]] = [{} for _ in farms]
    longest: list[dict[str, float]] = [dict.fromkeys(farm.names, 0.0) for farm in farms]
    for farm in farms:
        assert farm.witness is not None  # noqa: S101 - real_farm gives one
        farm.witness.drain()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        # Ten times a second is enough: the kernel has stamped what waits.
        time.sleep(0.1)
        for farm, latest, silences in zip(farms, last, longest, strict=True):
            assert farm.witness is not None  # noqa: S101
            while (heard := farm.witness.hear(0)) is not None:
                node = heard.heartbeat.node
                if node in latest:
                    silences[node] = max(silences[node], heard.at - latest[node])
                latest[node] = heard.at
    return longest


def _table(realtime: bool, farm: RealFarm, silences: dict[str, float], began: float) -> Table:
    logs = {name: [message for at, message in farm.log(name) if at >= began] for name in farm.names}
    rows = [
        Row(
            what=what,
            unit="",
            runs=tuple(sum(text in message for message in messages) for messages in logs.values()),
            aim=Aim(limit=0),
        )
        for what, text in COUNTED.items()
    ]
    delays = tuple((silence - LAN.pulse) * 1000 for silence in silences.values())
    rows.append(Row(what="longest delay of a heartbeat", unit="ms", runs=delays))
    said = [message for messages in (farm.log(name) for name in farm.names) for _, message in messages]
    priority = next((message for message in said if "real-time priority" in message), "normal priority")
    return Table(title=f"realtime = {str(realtime).lower()} ({priority})", rows=tuple(rows))


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Have so many processes want all of a core."""
    loops = [start_python("-c", "while True: pass") for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            end(loop)
