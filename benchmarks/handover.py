"""Figure: what a change of the view costs: the time until the filter's tables are turned, and clients that move."""

import mmap
import time
from ipaddress import IPv4Address
from random import Random
from typing import Final

from benchmarks.figures import Aim, Figure, Judged, Row, Table
from benchmarks.progress import say
from l2mode.core.buckets import owners, prepare
from l2mode.core.bulk_hashing import buckets_of
from l2mode.core.cells import NOBODY
from l2mode.core.frames import virtual_mac
from l2mode.core.handover import Handover, View
from l2mode.core.settings import LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.tables import Tables

GROUPS: Final = 8
LIMIT: Final = 5.0
"Milliseconds that a swap may take."
VIP: Final = IPv4Address("203.0.113.50")


class Filter:
    """The tables of one node, in memory of its own instead of the kernel's, and the handover that fills them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        settings = LayerTwoSettings(
            farm="bench",
            me=names[0],
            nodes=names,
            vips=(VIP,),
            groups=tuple(ShareGroup(name=f"G{port}", protocol=Protocol.TCP, ports=(port,)) for port in range(GROUPS)),
            seed=bytes(range(16)),
        )
        self._handover = Handover(name=names[0], groups=GROUPS)
        self._numbers = {name: number for number, name in enumerate(names)}
        self._tables = Tables(mmap.mmap(-1, Tables.SIZE))
        self._tables.configure(settings, virtual_mac(settings))

    def turn(self, view: View, *, claim: bool = True) -> None:
        """Have the filter obey a view, as l2mode/share.py does; then, once more, when its buckets are claimed."""
        self._handover.adopt(view)
        self._write()
        if claim:
            self._handover.claim()
            self._write()

    def _write(self) -> None:
        director = self._handover.director(VIP.packed)
        self._tables.swap(
            [self._handover.cells(group, self._numbers) for group in range(GROUPS)],
            [NOBODY if director is None else self._numbers[director]],
        )


def measure(*, quick: bool) -> Figure:
    """Time swaps, and count clients."""
    runs, clients = (3, 10_000) if quick else (20, 200_000)
    return Figure(
        title="A change of the view: tables turned, and clients moved",
        method=f"Turned: one of the nodes leaves; the time of Handover.adopt and Tables.swap, with {GROUPS} share "
        "groups of 4096 buckets and a view that was never seen before, in one process. Different powers: every group "
        f"gives power 2 to a node of its own. Moved: {clients} random IPv4 addresses, hashed as the filter does it; a "
        "run is one node that leaves, for each in turn; beyond the leaver's own are those whose server stays and is "
        "another one afterwards.",
        tables=(
            Table(
                title=f"from the view to the turned tables, {GROUPS} groups",
                rows=tuple(
                    _turning(size, runs=runs, different=different)
                    for different in (False, True)
                    for size in (3, 16, 64)
                ),
            ),
            Table(
                title="one leaves",
                rows=tuple(row for size in (3, 5, 10) for row in _moving(size, clients=clients)),
            ),
        ),
    )


def _turning(size: int, *, runs: int, different: bool) -> Row:
    say(f"tables turned, {size} nodes, {'different' if different else 'equal'} powers")
    random = Random(size)
    times = []
    for run in range(runs):
        # Other names each time: what is known of a view is remembered by names and powers.
        names = tuple(f"run{run:02}-web{number:02}" for number in range(size))
        prepare(names)
        preferred = [random.choice(names) if different else None for _ in range(GROUPS)]
        powers = {name: tuple(2 if name == one else 1 for one in preferred) for name in names}
        filter_ = Filter(names)
        filter_.turn(tuple(powers.items()))
        leaver = random.choice(names[1:])
        view = tuple((name, each) for name, each in powers.items() if name != leaver)
        began = time.perf_counter()
        filter_.turn(view, claim=False)
        times.append((time.perf_counter() - began) * 1000)
    return Row(
        what=f"{size} nodes, {'different powers' if different else 'equal powers'}",
        unit="ms",
        runs=tuple(times),
        aim=Aim(limit=LIMIT, judged=Judged.MEDIAN),
    )


def _moving(size: int, *, clients: int) -> tuple[Row, Row]:
    say(f"clients moved when one of {size} nodes leaves")
    random = Random(size)
    buckets = buckets_of(random.randbytes(16), [random.randbytes(4) for _ in range(clients)])
    powers = {f"web{number}": 1 for number in range(1, size + 1)}
    before = owners(powers)
    own, others = [], []
    for leaver in powers:
        after = owners({name: power for name, power in powers.items() if name != leaver})
        moved = [before[bucket] for bucket in buckets if before[bucket] != after[bucket]]
        own.append(100 * moved.count(leaver) / clients)
        others.append(100 * sum(name != leaver for name in moved) / clients)
    return (
        Row(what=f"1 of {size}: the leaver's own clients, all of which move", unit="%", runs=tuple(own)),
        Row(what=f"1 of {size}: moved beyond these", unit="%", runs=tuple(others), aim=Aim(limit=0)),
    )
