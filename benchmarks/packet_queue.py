"""Figure: verdicts per second of the filter that runs in user space, `filter = "nfqueue"`."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from benchmarks.figures import CannotMeasureError, Figure, Row, Table
from benchmarks.flood import Kind
from benchmarks.lane import IN, Lane, lane
from benchmarks.own_node import EXPECTED, ME, OTHER, SETTINGS, VIRTUAL_MAC, fill
from benchmarks.processes import children, cpu_seconds
from benchmarks.progress import say
from l2mode.core.reasons import Reason
from l2mode.core.tables import Tables
from l2mode.kernel.errors import FilterError
from l2mode.kernel.packet_queue import QueueFilter
from l2mode.kernel.restore import open_record

WORDS = {OTHER: "refused: TCP SYNs of others' buckets", ME: "accepted: UDP into a socket that nobody reads"}
KINDS = {OTHER: Kind.SYN, ME: Kind.UDP}


def measure(*, quick: bool) -> Figure:
    """Flood the queue."""
    if shutil.which("iptables") is None:
        raise CannotMeasureError("iptables is missing (apt-get install iptables)")
    if len(os.sched_getaffinity(0)) == 1:
        raise CannotMeasureError("the flood and the filter need a core each")
    rounds, seconds = (2, 0.5) if quick else (7, 2.0)
    rates: dict[int, list[float]] = {OTHER: [], ME: []}
    late: list[float] = []
    with lane() as on, _queue(on) as tables:
        (reader,) = children(os.getpid())
        for number in range(rounds):
            say(f"nfqueue, round {number + 1} of {rounds}")
            for owner, found in rates.items():
                fill(tables, on, owner=owner)
                with on.listener() if owner == ME else nullcontext():
                    before = cpu_seconds(reader)
                    on.rate(KINDS[owner], seconds=seconds, destination=VIRTUAL_MAC)
                    took = cpu_seconds(reader) - before
                judged = tables.counters()
                found.append(judged[EXPECTED[owner]] / took / 1000)
                late.append(100 * judged[Reason.LEASE_OVER] / sum(judged.values()))
    return Figure(
        title="The filter in user space",
        method='The lane of the packet filter\'s figure, and `filter = "nfqueue"`: its reader has one core, the flood '
        f"the other, and overruns it all the time. {rounds} rounds of {seconds:g} s for each; verdicts per second of "
        "the reader's time on its core. Late are packets that waited so long that they were dropped for it, unjudged.",
        tables=(
            Table(
                title="nfqueue",
                rows=(
                    *(
                        Row(what=WORDS[owner], unit="1000 verdicts/s", runs=tuple(found))
                        for owner, found in rates.items()
                    ),
                    Row(what="late", unit="% of the packets", runs=tuple(late)),
                ),
            ),
        ),
    )


@contextmanager
def _queue(on: Lane) -> Iterator[Tables]:
    """Have the filter at the receiver's end, its reader on a core that the flood does not use."""
    flooding = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory(prefix="hcsidecar-bench-") as directory, on.receiver.entered():
        try:
            filter_ = QueueFilter(SETTINGS, IN, open_record(Path(directory), tell=lambda _level, message: say(message)))
            tables = Tables(filter_.memory)
            tables.configure(SETTINGS, VIRTUAL_MAC)
            os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - flooding)
            try:
                filter_.attach()
            finally:
                os.sched_setaffinity(0, flooding)
        except FilterError as error:
            raise CannotMeasureError(f"{error.problem} ({error.remedy})") from error
        try:
            yield tables
        finally:
            with on.receiver.entered():
                filter_.detach()
