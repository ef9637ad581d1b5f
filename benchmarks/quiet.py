"""Figure: what a daemon costs that has nothing to do but its heartbeats, and how soon after its start it serves."""

import http.client
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.keepalived import BACKUP, MASTER, Pair, keepalived_pair, why_not
from benchmarks.processes import end, memory, shares_of_a_core, start
from benchmarks.progress import say
from benchmarks.real_farm import WEB_PORT, RealFarm, real_farm
from hcsidecar.core.farmfile.farm_file import PRESETS

INTERVALS = (1.0, 0.1)
"Of keepalived's advertisements, in seconds."
CPU_AIMS = {3: 1.5, 16: 6.0}
"Percent of a core, by the farm's size."
MEMORY_AIM = 62.0
"MiB of a daemon in the smallest farm: what top, ps and systemctl call M."
LOST_AFTER = PRESETS["lan"].lost_after
START_LIMIT = LOST_AFTER + 1.0
"Seconds from the start of a daemon until it is Ready."
SETTLE = 5.0
"Seconds after the last change before anything counts as quiet."


def measure(*, quick: bool) -> Figure:
    """Watch quiet daemons and start some."""
    sizes = (3,) if quick else (3, 16, 64)
    seconds, windows = (3.0, 1) if quick else (30.0, 2)
    tables: list[Table] = []
    notes: list[str] = []
    missing = why_not()
    if missing is not None:
        notes.append(f"No peer in this run: {missing}.")
    for size, layer_two in ((3, False), (3, True), *((size, False) for size in sizes if size != 3)):
        with ExitStack() as stack:
            farm = stack.enter_context(_farm_of_64() if size == 64 else _farm(size, layer_two=layer_two))
            pairs = [] if missing else [stack.enter_context(keepalived_pair(interval=each)) for each in INTERVALS]
            time.sleep(SETTLE)
            tables.append(_costs(size, layer_two, farm, pairs, seconds=seconds, windows=windows))
    tables.append(_starts(2 if quick else 10))
    return Figure(
        title="A quiet daemon: processor, memory, start",
        method="Real daemons in network namespaces on a Linux bridge (preset lan; in layer-2 mode where it says so, "
        f"with one share and the filter tc), watched for {windows} × {seconds:g} s after {SETTLE:g} s of peace: time "
        "on a core of all threads by "
        "/proc/PID/task/*/schedstat, memory by /proc/PID/status in MiB; every daemon and window is a run. In the farm "
        "of 64 one daemon is real, and one other process sends it what 63 would (benchmarks/many_peers.py): two cores "
        "are too few for 64 of them. The kernel's work of delivering a datagram is mostly counted to the sender. Peer, "
        "watched at the same time: keepalived, parent and VRRP child together, which speaks 1 or 10 times a second to "
        "one other; a daemon speaks 20 times a second to each. Start: from exec to the first 200 on /health, and to "
        "the daemon's own log line with the view that it is in.",
        tables=tuple(tables),
        notes=tuple(notes),
    )


def _costs(size: int, layer_two: bool, farm: RealFarm, pairs: list[Pair], *, seconds: float, windows: int) -> Table:
    groups: dict[str, tuple[int, ...]] = {name: (daemon.pid,) for name, daemon in farm.daemons.items()}
    peers: dict[str, tuple[int, ...]] = {
        f"keepalived, advert_int {pair.interval:g} s, {role}": pair.pids(end)
        for pair in pairs
        for end, role in ((MASTER, "master"), (BACKUP, "backup"))
    }
    percents: list[Mapping[str, float]] = []
    for window in range(windows):
        mode = ", layer-2 mode" if layer_two else ""
        say(f"quiet farm of {size}{mode}: window {window + 1} of {windows}")
        percents.append(shares_of_a_core(groups | peers, seconds=seconds))
    # The aims are those of a node behind a balancer; what a packet filter and its libraries cost beside is as measured.
    cpu_aim = Aim(limit=CPU_AIMS[size], judged=Judged.MEDIAN) if size in CPU_AIMS and not layer_two else None
    memory_aim = Aim(limit=MEMORY_AIM) if size == min(CPU_AIMS) and not layer_two else None
    now, highest = zip(*(memory(pid) for (pid,) in groups.values()), strict=True)
    rows = [
        Row(
            what="daemon: processor",
            unit="% of a core",
            runs=tuple(percent[name] for percent in percents for name in groups),
            aim=cpu_aim,
        ),
        Row(what="daemon: memory (VmRSS)", unit="MiB", runs=now, aim=memory_aim),
        Row(what="daemon: highest memory (VmHWM)", unit="MiB", runs=highest),
    ]
    for name, pids in peers.items():
        rows.append(
            Row(what=f"{name}: processor", unit="% of a core", runs=tuple(percent[name] for percent in percents))
        )
        rows.append(Row(what=f"{name}: memory (VmRSS)", unit="MiB", runs=(sum(memory(pid)[0] for pid in pids),)))
    return Table(title=f"quiet farm of {size}{', layer-2 mode' if layer_two else ''}", rows=tuple(rows))


@contextmanager
def _farm(size: int, *, layer_two: bool) -> Iterator[RealFarm]:
    """Start a farm without a witness: it would cost each daemon a datagram per pulse."""
    with real_farm(size=size, witness=False, layer_two=layer_two) as farm:
        began = farm.start()
        _await_view(farm, farm.names, since=began)
        yield farm


@contextmanager
def _farm_of_64() -> Iterator[RealFarm]:
    with real_farm(size=64, witness=False, layer_two=False, real=1) as farm:
        real, other = farm.names[:2]
        many_peers = ("-m", "benchmarks.many_peers", "--config", str(farm.config), "--real", real)
        peers = start(*farm.homes[other].command(sys.executable, *many_peers))
        try:
            began = farm.start(real)
            _await_view(farm, farm.names, since=began)
            yield farm
        finally:
            end(peers)


def _starts(runs: int) -> Table:
    """Start one daemon beside two that run, and three at once."""
    joins: list[tuple[float, float]] = []
    together: list[tuple[float, float]] = []
    with real_farm(size=3, witness=False, layer_two=False) as farm:
        _await_view(farm, farm.names, since=farm.start())
        joiner = farm.names[-1]
        for run in range(runs):
            say(f"start {run + 1} of {runs}: one daemon joins two")
            farm.kill(joiner)
            time.sleep(2 * LOST_AFTER)
            began = farm.start(joiner)
            healthy = _first_ok(farm, joiner) - began
            joins.append((healthy, _await_view(farm, farm.names, since=began, of=(joiner,)) - began))
        for run in range(runs):
            say(f"start {run + 1} of {runs}: three daemons at once")
            for name in farm.names:
                farm.kill(name)
            began = farm.start()
            healthy = max(_first_ok(farm, name) for name in farm.names) - began
            together.append((healthy, _await_view(farm, farm.names, since=began) - began))
    rows = []
    for what, found in (("one joins two", joins), ("three at once, the last of them", together)):
        for index, until in enumerate(("200 on /health", "view of all three")):
            times = tuple(pair[index] * 1000 for pair in found)
            # The promise is for a start; that two cores have to start three interpreters at once is this machine's.
            aim = Aim(limit=START_LIMIT * 1000) if found is joins else None
            rows.append(Row(what=f"{what}: exec to {until}", unit="ms", runs=times, aim=aim))
    return Table(title="start, farm of 3, preset lan", rows=tuple(rows))


def _first_ok(farm: RealFarm, name: str, *, limit: float = 60.0) -> float:
    """Ask for a node's health until it is OK; give the time then, in seconds of the wall clock."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        connection = http.client.HTTPConnection(farm.addresses[name], WEB_PORT, timeout=1)
        try:
            with farm.observer.entered():
                connection.connect()
            connection.request("GET", "/health")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return time.time()
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.005)
    raise CannotMeasureError(f"{name} has not been Ready within {limit:g} s")


def _await_view(
    farm: RealFarm, members: tuple[str, ...], *, since: float, of: tuple[str, ...] = (), limit: float = 60.0
) -> float:
    """Wait until daemons log the view of these members; give when the last of them did."""
    text = f"view: {', '.join(members)}"
    until = time.monotonic() + limit
    while time.monotonic() < until:
        said = [farm.first_said(name, text, since=since) for name in of or tuple(farm.daemons)]
        times = [at for at in said if at is not None]
        if len(times) == len(said):
            return max(times)
        time.sleep(0.05)
    raise CannotMeasureError(f"not every daemon has said `{text}` within {limit:g} s")
