"""The peer: two keepalived that share an address over VRRP, each in a network namespace of its own, joined by a cable.

Debian's keepalived logs and speaks VRRP version 3 here, the one that knows intervals below a second.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from benchmarks import processes
from benchmarks.figures import CannotMeasureError

VIP = "10.99.0.100"
MASTER, BACKUP = "a", "b"
_PRIORITIES = {MASTER: 150, BACKUP: 100}
_CONFIG = """\
global_defs {{
    router_id {name}
    vrrp_version 3
    script_user root
}}
{scripts}vrrp_instance bench {{
    state BACKUP
    interface {interface}
    virtual_router_id 51
    priority {priority}
    advert_int {interval}
    virtual_ipaddress {{
        {address}
    }}
{tracked}}}
"""


class TrackScript(NamedTuple):
    """A program whose failure makes keepalived give up its address; one good or bad run is enough."""

    name: str
    path: Path
    interval: int = 1
    "Seconds from one run to the next: whole ones, keepalived knows no others."
    timeout: int = 1
    "Seconds that a run may take."


class Pair:
    """Two keepalived; the first has the higher priority, and so the address while it lives."""

    def __init__(self, directory: Path, *, interval: float, stack: ExitStack) -> None:
        self.interval = interval
        "Seconds between two advertisements."
        self._directory = directory
        self._namespaces = {end: f"hcs-{os.getpid()}-{interval:g}-{end}" for end in (MASTER, BACKUP)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for namespace in self._namespaces.values():
            _ip("netns", "add", namespace)
            # With the namespace goes the cable in it.
            stack.callback(_ip, "netns", "del", namespace)
        one, other = self._namespaces.values()
        _ip("link", "add", "bench", "netns", one, "type", "veth", "peer", "name", "bench", "netns", other)
        for number, namespace in enumerate(self._namespaces.values(), start=1):
            _ip("-n", namespace, "address", "add", f"10.99.0.{number}/24", "dev", "bench")
        for namespace in self._namespaces.values():
            _ip("-n", namespace, "link", "set", "bench", "up")
        stack.callback(self.stop)
        for end in (MASTER, BACKUP):
            self.start(end)
        self.wait_for(MASTER)

    def start(self, end: str) -> None:
        """Start one of the two."""
        started = command(
            self._directory,
            end,
            priority=_PRIORITIES[end],
            interval=self.interval,
            interface="bench",
            address=f"{VIP}/24",
        )
        with self._log(end).open("ab") as log:
            self.processes[end] = processes.start("ip", "netns", "exec", self._namespaces[end], *started, output=log)

    def stop(self) -> None:
        """End both. Safe to repeat."""
        for process in self.processes.values():
            processes.end(process, signal.SIGTERM)

    def pids(self, end: str) -> tuple[int, ...]:
        """Give the processes of one of them: the parent, and the child that speaks VRRP."""
        parent = self.processes[end].pid
        return (parent, *processes.children(parent))

    def takeovers(self, end: str) -> int:
        """Count how often one of them has become master."""
        return self._log(end).read_text().count("Entering MASTER STATE")

    def wait_for(self, end: str, *, limit: float = 20.0) -> float:
        """Wait until one of them has the address; give the time then, in seconds of the wall clock."""
        until = time.monotonic() + limit
        while time.monotonic() < until:
            if VIP in _ip("-n", self._namespaces[end], "address", "show", "dev", "bench"):
                return time.time()
            time.sleep(0.002)
        raise CannotMeasureError(f"keepalived has not taken the address within {limit:g} s")

    def fail_over(self) -> float:
        """Kill the master, as a power cut would; give the seconds until the other one has the address.

        The master is brought back before this returns.
        """
        at = time.time()
        # Both processes at once: a child that outlives its parent says goodbye.
        processes.end(self.processes[MASTER])
        took = self.wait_for(BACKUP) - at
        with suppress(subprocess.CalledProcessError):
            _ip("-n", self._namespaces[MASTER], "address", "del", f"{VIP}/24", "dev", "bench")
        self.start(MASTER)
        self.wait_for(MASTER)
        return took

    def _log(self, end: str) -> Path:
        return self._directory / f"{end}.log"


@contextmanager
def keepalived_pair(*, interval: float) -> Iterator[Pair]:
    """Put up a pair, and remove it with its namespaces. CannotMeasureError says what is missing."""
    why = why_not()
    if why is not None:
        raise CannotMeasureError(why)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="hcsidecar-bench-"))
        yield Pair(Path(directory), interval=interval, stack=stack)


def command(
    directory: Path,
    name: str,
    *,
    priority: int,
    interval: float,
    interface: str,
    address: str,
    scripts: tuple[TrackScript, ...] = (),
) -> tuple[str, ...]:
    """Write the configuration of a keepalived; give the command that starts it."""
    config = directory / f"{name}.keepalived.conf"
    pid, vrrp_pid = (directory / f"{name}{kind}" for kind in (".pid", ".vrrp.pid"))
    for left_over in (pid, vrrp_pid):
        left_over.unlink(missing_ok=True)
    config.write_text(
        _CONFIG.format(
            name=name,
            priority=priority,
            interval=f"{interval:g}",
            interface=interface,
            address=address,
            scripts="".join(map(_script, scripts)),
            tracked=_tracked(scripts),
        )
    )
    return (
        *("keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp"),
        *("--use-file", str(config), "--pid", str(pid), "--vrrp_pid", str(vrrp_pid)),
    )


def _script(script: TrackScript) -> str:
    return (
        f'vrrp_script {script.name} {{\n    script "{script.path}"\n    interval {script.interval}\n'
        f"    timeout {script.timeout}\n    rise 1\n    fall 1\n}}\n"
    )


def _tracked(scripts: tuple[TrackScript, ...]) -> str:
    if not scripts:
        return ""
    return "    track_script {\n" + "".join(f"        {script.name}\n" for script in scripts) + "    }\n"


def why_not() -> str | None:
    """Say why no keepalived can stand beside the daemons, or None."""
    if shutil.which("keepalived") is None:
        return "keepalived is not installed (apt-get install keepalived)"
    if os.geteuid() != 0:
        return "keepalived needs root"
    return None


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout
