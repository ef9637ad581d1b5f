"""Figure: what 50 checks a second cost, beside a daemon without any and beside keepalived's track_script."""

import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.apache import Apache
from benchmarks.checked_node import OK, CheckedNode, Tempo, check_table
from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.processes import cpu_seconds_with_children, memory, shares_of_a_core
from benchmarks.progress import say
from benchmarks.tracker import Tracker
from benchmarks.wire import namespaces

CHECKS: Final = 50
TEMPO: Final = Tempo(interval=1.0, timeout=1.0)
KINDS: Final = ("tcp", "http")
"By turns."
SETTLE: Final = 5.0
"Seconds after the start before anything counts."
NONE, OURS = "daemon, no check", f"daemon, {CHECKS} checks"
PEER_NONE, PEER = "keepalived, no script", f"keepalived, {CHECKS} scripts"
AIM: Final = 1.0
"Ours costs no more than the peer's."


def measure(*, quick: bool) -> Figure:
    """Watch daemons and keepaliveds with checks and without, all at the same time."""
    seconds, windows = (3.0, 1) if quick else (30.0, 4)
    notes: tuple[str, ...] = ()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hcsidecar-bench-")))
        here, other = stack.enter_context(namespaces("checks", "none"))
        application = Apache(directory, here)
        stack.callback(application.stop)
        application.start()
        daemons = {}
        for what, namespace, tables in ((NONE, other, ""), (OURS, here, check_tables(CHECKS))):
            node = CheckedNode(directory / namespace.name, namespace, name="bench", address="127.0.0.1", tables=tables)
            stack.callback(node.stop)
            with namespace.entered():
                node.await_health(OK)
            daemons[what] = (node.daemon.pid,)
        peers = {}
        try:
            for what, namespace, kinds in ((PEER_NONE, other, ()), (PEER, here, kinds_of(CHECKS))):
                tracker = Tracker(directory / f"{namespace.name}-peer", namespace, kinds=kinds)
                stack.callback(tracker.stop)
                with namespace.entered():
                    tracker.await_address()
                peers[what] = tracker.pids
        except CannotMeasureError as error:
            peers, notes = {}, (f"No peer in this run: {error}.",)
        groups = daemons | peers
        time.sleep(SETTLE)
        percents = []
        for window in range(windows):
            say(f"{CHECKS} checks: window {window + 1} of {windows}")
            percents.append(shares_of_a_core(groups, seconds=seconds, spent=cpu_seconds_with_children))
        megabytes = {what: sum(memory(pid)[0] for pid in pids) for what, pids in groups.items()}
    return Figure(
        title=f"What {CHECKS} checks a second cost",
        method=f"A real daemon, a farm of one, with {CHECKS} checks of one Apache on loopback, tcp and http by turns, "
        "interval 1s; beside it the same without any, and two keepalived, one with as many track_script entries "
        "(interval 1) and one without: bash scripts that connect and hang up, or ask for the page, without a process "
        f"more. All at the same time, {windows} × {seconds:g} s after {SETTLE:g} s of peace. Time on a core: all "
        "threads by /proc/PID/task/*/schedstat, and children that have ended by /proc/PID/stat; memory: VmRSS by "
        "/proc/PID/status in MiB, of keepalived parent and VRRP child together, without the scripts that run just "
        "then. What Apache costs is not counted; the kernel's work on loopback mostly counts for who sends. The daemon "
        "listens, keeps time and is asked for nothing; keepalived sends an advertisement every 0.1 s.",
        tables=(table(percents, megabytes),),
        notes=notes,
    )


def check_tables(number: int) -> str:
    """Write so many checks, which lead to nothing when they fail."""
    return "".join(
        check_table(kind, f"CHECK{index}", TEMPO, action="none") for index, kind in enumerate(kinds_of(number), start=1)
    )


def kinds_of(number: int) -> tuple[str, ...]:
    """Give the kinds of so many checks, by turns."""
    return tuple(KINDS[index % len(KINDS)] for index in range(number))


def table(percents: list[dict[str, float]], megabytes: Mapping[str, float]) -> Table:
    """Put together what was watched: percent of a core in each window, and memory, by who it is."""
    rows = [
        Row(what=f"{what}: processor", unit="% of a core", runs=tuple(each[what] for each in percents))
        for what in megabytes
    ]
    ours = tuple(each[OURS] - each[NONE] for each in percents)
    rows.append(Row(what=f"{CHECKS} checks: processor", unit="% of a core", runs=ours))
    if PEER in megabytes:
        peers = tuple(each[PEER] - each[PEER_NONE] for each in percents)
        rows.append(Row(what=f"{CHECKS} scripts of keepalived: processor", unit="% of a core", runs=peers))
        rows.append(
            Row(
                what="checks to scripts: processor",
                unit="ratio",
                runs=tuple(mine / theirs for mine, theirs in zip(ours, peers, strict=True)),
                aim=Aim(limit=AIM, judged=Judged.MEDIAN),
            )
        )
    rows += [Row(what=f"{what}: memory (VmRSS)", unit="MiB", runs=(size,)) for what, size in megabytes.items()]
    return Table(title=f"{CHECKS} checks at an interval of 1 s, tcp and http", rows=tuple(rows))
