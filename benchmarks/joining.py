"""Figure: how long a new server takes from the pasted line until it is Ready."""

import http.client
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.processes import end, start
from benchmarks.progress import say
from benchmarks.wire import BRIDGE, Namespace, Switch, namespaces
from hcsidecar.core.farmfile.farm_file import PRESETS

LISTENS = PRESETS["lan"].lost_after
"Seconds for which a node listens before it wants a share."
AIM = 3.0
"Seconds, and the listening time."
LIMIT = 60.0
"Seconds that any step may take."
_FARM, _NEW = "192.0.2.101", "192.0.2.102"


def measure(*, quick: bool) -> Figure:
    """Make a farm of one server again and again, and let a second one join it."""
    runs = 1 if quick else 10
    joined: list[float] = []
    ready: list[float] = []
    with namespaces("switch", "web1", "web2") as (switch, first, new):
        bridge = Switch(switch)
        switch.ip("address", "add", "192.0.2.1/24", "dev", BRIDGE)
        bridge.plug_in("web1", first, _FARM)
        bridge.plug_in("web2", new, _NEW)
        for run in range(runs):
            say(f"join {run + 1} of {runs}")
            with tempfile.TemporaryDirectory(prefix="hcsidecar-bench-") as directory:
                took = _join(Path(directory), switch, first, new)
            joined.append(took[0])
            ready.append(took[1])
    aim = Aim(limit=AIM + LISTENS, judged=Judged.MEDIAN)
    return Figure(
        title="A new server: from Enter to Ready",
        method="A farm of one real daemon (preset lan) in a network namespace on a Linux bridge, made by "
        "`hcsidecar init`. In another namespace the line of `hcsidecar token` is run with --yes, and then the daemon "
        "started by hand, as `hcsidecar install` would: from the exec of the command until it has ended, and until the "
        f"first 200 of the new node's health URL. In the second there are the {LISTENS:g} s for which a node listens, "
        "and two starts of an interpreter.",
        tables=(
            Table(
                title="a second server joins",
                rows=(
                    Row(what="Enter to the end of the command", unit="s", runs=tuple(joined)),
                    Row(what="Enter to Ready", unit="s", runs=tuple(ready), aim=aim),
                ),
            ),
        ),
    )


def _join(directory: Path, switch: Namespace, first: Namespace, new: Namespace) -> tuple[float, float]:
    """Return the seconds from Enter until the command has ended, and until the new node is Ready."""
    configs = {name: directory / name / "farm.toml" for name in ("web1", "web2")}
    _command(first, "init", str(configs["web1"].parent), "--name", "bench", "--node", f"web1={_FARM}")
    text = configs["web1"].read_text()
    configs["web1"].write_text(text.replace("#state_dir =", f'state_dir = "{directory}/s" #'))
    daemons = [_daemon(first, configs["web1"])]
    try:
        _await(lambda: _is_ready(switch, _FARM), "the farm is Ready")
        line = shlex.split(_token(first, configs["web1"]))
        began = time.monotonic()
        _command(new, *line[1:], "--config", str(configs["web2"]), "--yes")
        ended = time.monotonic()
        daemons.append(_daemon(new, configs["web2"]))
        _await(lambda: _is_ready(switch, _NEW), "the new node is Ready")
        return ended - began, time.monotonic() - began
    finally:
        for daemon in daemons:
            end(daemon, signal.SIGKILL)


def _daemon(home: Namespace, config: Path) -> "subprocess.Popen[bytes]":
    return start(*home.command(sys.executable, "-m", "hcsidecar.daemon.start", "--config", str(config)))


def _token(home: Namespace, config: Path) -> str:
    """Return the line for the new server, as soon as the node has its certificate."""
    command = home.command(sys.executable, "-m", "hcsidecar", "token", "web2", "--config", str(config))
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
        if done.returncode == 0:
            return done.stdout.strip()
    raise CannotMeasureError(f"hcsidecar token: {done.stderr.strip()}")


def _command(home: Namespace, *words: str) -> None:
    command = home.command(sys.executable, "-m", "hcsidecar", *words)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT)
    if done.returncode:
        raise CannotMeasureError(f"hcsidecar {words[0]}: {done.stderr.strip()}")


def _is_ready(switch: Namespace, address: str) -> bool:
    with switch.entered(), suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection(address, 9010, timeout=1)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        finally:
            connection.close()
    return False


def _await(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > until:
            raise CannotMeasureError(f"within {LIMIT:g} s it did not happen that {what}")
        time.sleep(0.01)
