"""Figure: from yes to active everywhere, for settings that are applied under load; beside it reloads of others."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import applying_simulated, keepalived, processes
from benchmarks.custom import FRESH, LASTING, PAUSE, Met, customers
from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.progress import say
from benchmarks.site import CLIENTS, PORT, VIP, Site, site
from benchmarks.wire import INTERFACE
from hcsidecar.api.client import LocalNode, NodeClient
from hcsidecar.core.settings.agreement import ProposalProgress
from hcsidecar.core.settings.documents import CandidateBody, ProposalBody, SettingsReport
from hcsidecar.net.keyring import Keyring

FARM: Final = "bench"
SIZES: Final = (3, 16)
CHANGES: Final = ("power", "check")
LIMIT: Final = 0.3
"Seconds from yes to active everywhere on three nodes."
AROUND: Final = 0.5
"Seconds of load before a change and after it."
PATIENCE: Final = 60.0
MEMORY_LIMIT: Final = 62.0
"MiB of a daemon behind a balancer."
SETTLE: Final = 3.0
"Seconds before memory is read."
ADVERT: Final = 0.1
BALANCER: Final = "lb"
_HAPROXY = """\
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend vip
    bind {vip}:{port}
    default_backend web
backend web
{servers}"""


class Applied(NamedTuple):
    """One change; times in seconds from yes, or from the signal."""

    active: float
    "Until the last one goes by it."
    settled: float
    "Until the last one has it as the settled one; as `active` where there is no such thing."
    asked: float
    "What was needed before the yes: the candidate, which each node obtains and checks."
    met: Met


class Memory(NamedTuple):
    """MiB of each daemon."""

    without: tuple[float, ...]
    first: tuple[float, ...]
    "After the first revision."
    last: tuple[float, ...]
    "After all of them."


def measure(*, quick: bool) -> Figure:
    """Apply changes to farms under load, and reload keepalived and HAProxy under the same."""
    runs = 2 if quick else 12
    sizes = SIZES[:1] if quick else SIZES
    ours: dict[tuple[int, str], list[Applied]] = {}
    memory: dict[int, Memory] = {}
    for size in sizes:
        found, memory[size] = _ours(size, runs=runs if size == SIZES[0] else max(2, runs // 3))
        ours |= {(size, change): applied for change, applied in found.items()}
    peers: dict[str, list[Applied]] = {}
    notes: list[str] = []
    for name, reload in (("keepalived, SIGHUP", _keepalived), ("HAProxy, SIGUSR2", _haproxy)):
        try:
            peers[name] = reload(runs)
        except CannotMeasureError as error:
            notes.append(f"Without {name} in this run: {error}.")
    tables = [_table(f"{size} real nodes: {change}", applied, size) for (size, change), applied in ours.items()]
    tables += [_table(f"{name}, two of them" if "keep" in name else name, found, 0) for name, found in peers.items()]
    tables.append(_ratios({change: ours[SIZES[0], change] for change in CHANGES}, peers))
    tables.append(_memory({"behind a balancer": _plain(), "layer-2 mode": memory[SIZES[0]]}))
    tables.append(applying_simulated.table(quick=quick))
    return Figure(
        title="Settings that are applied under load, from yes to active everywhere; beside it reloads of others",
        method="Nodes in network namespaces on a Linux bridge, each with a real daemon in layer-2 mode (preset lan, "
        'filter tc, directed delivery, `by = "port"`), its own directory and an nginx. The operator changes the power '
        "of a node, or adds a check, in the farm file of the first node, by turns. Yes is the moment at which the "
        "command proposes the candidate; before it every node has checked it, which is the time that is told apart. "
        "Active is when the last node's log says that it goes by the change, settled when the last one has it on its "
        f"disk. Meanwhile {LASTING} clients ask on connections that they keep and {FRESH} on new ones, each "
        f"{PAUSE * 1000:g} ms after its last answer, from {AROUND:g} s before to {AROUND:g} s after the change. Peers, "
        f"on the same machine in the same run under the same load: two keepalived (advert_int {ADVERT:g} s) that take "
        "another priority by SIGHUP, until both logs say that the reload is complete; HAProxy, master and worker, "
        "before three nginx, which takes another weight by SIGUSR2, until its log says that the new worker runs. Both "
        "are one machine's own affair: neither asks another one. A worker of HAProxy that ends closes kept "
        "connections, as HTTP allows; these clients do not ask again by themselves, so such a request counts as "
        "broken. A ratio is that of runs of the same number. The simulated farms have the real agreement, "
        "membership and share of every node on a virtual clock; a datagram takes 0.1-1 ms, what the disk and the "
        "network take is drawn up to 20 ms, and no time passes while a node thinks.",
        tables=tuple(tables),
        notes=tuple(notes),
    )


def _table(title: str, applied: list[Applied], size: int) -> Table:
    none = Aim(limit=0) if size else None
    rows = [
        Row(
            what="yes to active everywhere" if size else "signal to reloaded",
            unit="ms",
            runs=tuple(1000 * one.active for one in applied),
            aim=Aim(limit=1000 * LIMIT, judged=Judged.MEDIAN) if size == SIZES[0] else None,
        )
    ]
    if size:
        rows += [
            Row(what="yes to settled everywhere", unit="ms", runs=tuple(1000 * one.settled for one in applied)),
            Row(what="before the yes: all check", unit="ms", runs=tuple(1000 * one.asked for one in applied)),
        ]
    rows += [
        Row(what="requests", unit="", runs=tuple(float(one.met.requests) for one in applied)),
        Row(what="failed requests", unit="", runs=tuple(float(one.met.failed) for one in applied), aim=none),
        Row(what="broken connections", unit="", runs=tuple(float(one.met.broken) for one in applied), aim=none),
        Row(what="slowest request", unit="ms", runs=tuple(1000 * one.met.longest for one in applied)),
    ]
    return Table(title=title, rows=tuple(rows))


def _ratios(ours: dict[str, list[Applied]], peers: dict[str, list[Applied]]) -> Table:
    return Table(
        title=f"{SIZES[0]} real nodes to peers",
        rows=tuple(
            Row(
                what=f"{change}, yes to active, to {name}",
                unit="ratio",
                runs=tuple(one.active / other.active for one, other in zip(applied, found, strict=False)),
            )
            for change, applied in ours.items()
            for name, found in peers.items()
        ),
    )


def _memory(found: dict[str, Memory]) -> Table:
    rows = []
    for mode, memory in found.items():
        aim = Aim(limit=MEMORY_LIMIT) if mode == "behind a balancer" else None
        rows += [
            Row(what=f"{mode}, without a revision", unit="MiB", runs=memory.without, aim=aim),
            Row(what=f"{mode}, with the first one", unit="MiB", runs=memory.first, aim=aim),
            Row(what=f"{mode}, after all changes", unit="MiB", runs=memory.last, aim=aim),
        ]
    return Table(title=f"memory of a daemon (VmRSS), {SIZES[0]} nodes", rows=tuple(rows))


# -- ours ---------------------------------------------------------------------------------------------------------


class Farm:
    """Daemons with a directory each, as on servers of their own."""

    def __init__(self, on: Site, names: tuple[str, ...], *, layer_two: bool = True) -> None:
        self._on, self.names, self._layer_two = on, names, layer_two
        self._keyring = Keyring.create(on.directory / "farm.key", now=datetime.now(UTC))
        self._keyring.write(replace=False)
        self._power = 1
        self._checks = 0
        self.pids: dict[str, int] = {}
        for name in names:
            home = on.directory / name
            home.mkdir()
            (home / "farm.key").write_bytes((on.directory / "farm.key").read_bytes())
            (home / "farm.key").chmod(0o600)
            (home / "farm.toml").write_text(self._text())

    def _text(self) -> str:
        nodes = "".join(
            f'[[node]]\nname = "{name}"\naddress = "{self._on.addresses[name]}"\n'
            + (f"power = {self._power}\n" if name == self.names[-1] else "")
            for name in self.names
        )
        checks = "".join(
            f'[[check]]\ntype = "tcp"\nname = "WEB_{number}"\naddress = "127.0.0.1"\nport = {PORT}\n'
            for number in range(self._checks)
        )
        shared = (
            f'[l2]\ninterface = "{INTERFACE}"\nfilter = "tc"\ndelivery = "directed"\n[[l2.vip]]\naddress = "{VIP}"\n'
            f'[[l2.share]]\nname = "WEB"\nprotocol = "tcp"\nports = [{PORT}]\nby = "port"\n'
            if self._layer_two
            else ""
        )
        return f'[farm]\nname = "{FARM}"\nstate_dir = "{self._on.directory}/s"\n{shared}{nodes}{checks}'

    def start(self) -> None:
        """Start all daemons and web servers, and wait until all serve."""
        for name in self.names:
            self._on.start_web(name)
        for name in self.names:
            daemon = ("-m", "hcsidecar.daemon.start", "--config", str(self._on.directory / name / "farm.toml"))
            self.pids[name] = self._on.start(name, sys.executable, *daemon, "--node", name, "--log-json").pid
        self._on.wait_until(self._is_one, what="all serve", limit=PATIENCE)

    def _is_one(self) -> bool:
        if self._layer_two:
            return set(self._on.share_out()) == set(self.names)
        return all(any(self._said(name, f"view: {', '.join(self.names)}", 0.0)) for name in self.names)

    def edit(self, change: str) -> None:
        """Change the first node's farm file."""
        if change == "power":
            self._power = 3 - self._power
        else:
            self._checks = (self._checks + 1) % 4
        (self._on.directory / self.names[0] / "farm.toml").write_text(self._text())

    async def apply(self) -> tuple[float, float]:
        """Apply the first node's farm file as `hcsidecar apply` does; give when it asks, and when it is answered yes.

        Returns when it is in force on every node; both times are of the wall clock.
        """
        first = self.names[0]
        local = LocalNode(name=first, socket=self._on.directory / "s" / FARM / first / "control.sock")
        client = NodeClient(first, local, timeout=PATIENCE)
        asked = time.time()
        report = (await client.make_candidate(CandidateBody(message="benchmark"))).document
        if not report.is_right or report.revision is None:
            raise CannotMeasureError(f"the candidate is not right: {report.problems or report.checks}")
        yes = time.time()
        answer = await client.propose(ProposalBody(digest=report.revision.digest, confirm=30.0))
        if not answer.ok:
            raise CannotMeasureError(f"not proposed: {answer.text}")
        until = time.monotonic() + PATIENCE
        while not _is_settled((await client.settings()).document):
            if time.monotonic() > until:
                raise CannotMeasureError(f"not in force everywhere within {PATIENCE:g} s")
            await asyncio.sleep(0.1)
        return asked, yes

    def last_said(self, text: str, *, since: float) -> float:
        """Give when the last node logged a text after a time, in seconds of the wall clock."""
        times = [max(self._said(name, text, since), default=None) for name in self.names]
        if None in times:
            raise CannotMeasureError(f"not every node has said `{text}`")
        return max(time for time in times if time is not None)

    def _said(self, name: str, text: str, since: float) -> Iterator[float]:
        for line in (self._on.directory / f"{name}.log").read_text().splitlines():
            if text in line and line.startswith("{"):
                # The log knows milliseconds.
                at = datetime.fromisoformat(json.loads(line)["time"]).timestamp()
                if at >= since - 0.001:
                    yield at

    def memory(self) -> tuple[float, ...]:
        """Give the resident memory of each daemon in MiB."""
        time.sleep(SETTLE)
        return tuple(processes.memory(pid)[0] for pid in self.pids.values())


def _is_settled(report: SettingsReport) -> bool:
    proposal = report.proposal
    if proposal is not None and proposal.progress in (ProposalProgress.ABORTED, ProposalProgress.UNDONE):
        raise CannotMeasureError(f"not in force: {proposal.outcome}")
    return proposal is not None and proposal.progress is ProposalProgress.SETTLED and not proposal.waits_for


def _ours(size: int, *, runs: int) -> tuple[dict[str, list[Applied]], Memory]:
    names = tuple(f"web{number:02}" for number in range(1, size + 1))
    found: dict[str, list[Applied]] = {change: [] for change in CHANGES}
    with site(*names) as on:
        farm = Farm(on, names)
        farm.start()
        without = farm.memory()
        # The first revision is that of the files as they are, with a check: what it costs is told apart.
        farm.edit("check")
        asyncio.run(farm.apply())
        first = farm.memory()
        for run in range(runs):
            for change in CHANGES:
                say(f"{size} nodes, {change}, run {run + 1} of {runs}")
                found[change].append(_change(on, farm, change))
        return found, Memory(without, first, farm.memory())


def _plain() -> Memory:
    """Give the memory of daemons without a virtual IP, over as many changes as a quick run has."""
    names = tuple(f"web{number:02}" for number in range(1, SIZES[0] + 1))
    with site(*names) as on:
        farm = Farm(on, names, layer_two=False)
        farm.start()
        found = [farm.memory()]
        for changes in (("check",), CHANGES * 4):
            for change in changes:
                farm.edit(change)
                asyncio.run(farm.apply())
            found.append(farm.memory())
        return Memory(*found)


def _change(on: Site, farm: Farm, change: str) -> Applied:
    farm.edit(change)
    with customers(on) as clients:
        time.sleep(AROUND)
        asked, yes = asyncio.run(farm.apply())
        time.sleep(AROUND)
        met = clients.finish()
    active = farm.last_said("goes by changed settings", since=yes)
    settled = farm.last_said("is in force on all nodes", since=yes)
    return Applied(active=active - yes, settled=settled - yes, asked=yes - asked, met=met)


# -- peers --------------------------------------------------------------------------------------------------------


def _keepalived(runs: int) -> list[Applied]:
    why = keepalived.why_not()
    if why is not None:
        raise CannotMeasureError(why)
    names = ("ka1", "ka2")
    with site(*names) as on:

        def configure(name: str, more: int) -> tuple[str, ...]:
            return keepalived.command(
                on.directory,
                name,
                priority=(150 if name == names[0] else 100) + more,
                interval=ADVERT,
                interface=INTERFACE,
                address=f"{VIP}/24",
            )

        started = {}
        for name in names:
            on.start_web(name)
            started[name] = on.start(name, *configure(name, 0))
        on.wait_until(lambda: on.who_serves(CLIENTS[0]) == names[0], what="keepalived has the VIP")
        found = []
        for run in range(runs):
            say(f"keepalived, run {run + 1} of {runs}")
            for name in names:
                _keep_pid(on.directory, name, lambda name=name, run=run: configure(name, 1 + run % 2))  # type: ignore[misc]
            logs = [on.directory / f"{name}.log" for name in names]
            found.append(
                _reload(on, [started[name].pid for name in names], signal.SIGHUP, logs, "Reload complete"),
            )
        return found


def _keep_pid(directory: Path, name: str, configure: Callable[[], tuple[str, ...]]) -> None:
    """Write another configuration for a keepalived that runs, whose pid files must stay."""
    kept = {path: path.read_bytes() for path in (directory / f"{name}{kind}" for kind in (".pid", ".vrrp.pid"))}
    configure()
    for path, content in kept.items():
        path.write_bytes(content)


def _haproxy(runs: int) -> list[Applied]:
    names = ("web1", "web2", "web3")
    with site(BALANCER, *names) as on:
        config = on.directory / "haproxy.cfg"

        def configure(weight: int) -> None:
            servers = "".join(f"    server {name} {on.addresses[name]}:{PORT} weight {weight}\n" for name in names)
            config.write_text(_HAPROXY.format(vip=VIP, port=PORT, servers=servers))

        for name in names:
            on.start_web(name)
        configure(1)
        on.servers[BALANCER].ip("address", "add", f"{VIP}/24", "dev", INTERFACE)
        try:
            started = on.start(BALANCER, "haproxy", "-W", "-f", str(config))
        except OSError as error:
            raise CannotMeasureError(f"haproxy: {error}") from error
        on.wait_until(lambda: on.who_serves(CLIENTS[0]) in names, what="HAProxy serves")
        found = []
        for run in range(runs):
            say(f"HAProxy, run {run + 1} of {runs}")
            configure(2 - run % 2)
            logs = [on.directory / f"{BALANCER}.log"]
            found.append(_reload(on, [started.pid], signal.SIGUSR2, logs, "Loading success"))
        return found


def _reload(on: Site, pids: list[int], number: signal.Signals, logs: list[Path], done: str) -> Applied:
    """Tell processes to reload under load, and wait until each log says once more that it is done."""
    before = [log.read_text().count(done) for log in logs]
    with customers(on) as clients:
        time.sleep(AROUND)
        began = time.monotonic()
        for pid in pids:
            os.kill(pid, number)
        while any(log.read_text().count(done) <= count for log, count in zip(logs, before, strict=True)):
            if time.monotonic() > began + PATIENCE:
                raise CannotMeasureError(f"no `{done}` within {PATIENCE:g} s")
            time.sleep(0.001)
        took = time.monotonic() - began
        time.sleep(AROUND)
        met = clients.finish()
    return Applied(active=took, settled=took, asked=0.0, met=met)
