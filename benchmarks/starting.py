"""Figure: what a start costs the processor, from the command to the first OK."""

import http.client
import signal
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Aim, CannotMeasureError, Figure, Judged, Row, Table
from benchmarks.processes import cpu_seconds, end, start_python
from benchmarks.progress import say
from hcsidecar.net.keyring import Keyring

AIM = 0.5
"Seconds of a processor."
ADDRESS, PORT = "127.91.7.1", 9010
LIMIT = 60.0
"Seconds that a start may take."


def measure(*, quick: bool) -> Figure:
    """Start a node again and again, and an interpreter that does nothing beside it."""
    runs = 2 if quick else 15
    nodes: list[float] = []
    interpreters: list[float] = []
    with tempfile.TemporaryDirectory(prefix="hcsidecar-") as directory:
        config = _farm_file(Path(directory))
        for run in range(runs):
            say(f"start {run + 1} of {runs}")
            interpreters.append(_of_an_interpreter(Path(directory) / "output"))
            nodes.append(_of_a_node(config))
    table = Table(
        title="one node",
        rows=(
            Row(
                what="command to first OK",
                unit="s",
                runs=tuple(nodes),
                aim=Aim(limit=AIM, judged=Judged.MEDIAN),
            ),
            Row(what="an interpreter that does nothing", unit="s", runs=tuple(interpreters)),
        ),
    )
    return Figure(
        title="A start: time of the processor",
        method="`hcsidecar run` with a farm of one node, one check and the preset lan, until its health URL answers "
        "200: time on a core of all threads by /proc/PID/task/*/schedstat, from the exec of the command on. Beside it, "
        "in turn, an interpreter until it says its first word.",
        tables=(table,),
    )


def _farm_file(directory: Path) -> Path:
    config = directory / "farm.toml"
    config.write_text(
        f'[farm]\nname = "apache"\nstate_dir = "{directory}/state"\n'
        f'[[node]]\nname = "web1"\naddress = "{ADDRESS}"\nlisten = ["{ADDRESS}:{PORT}"]\n'
        f'[health]\nlame_duck = "0s"\n'
        f'[[check]]\ntype = "tcp"\nname = "APACHE"\naddress = "{ADDRESS}"\nport = {PORT}\n'
    )
    Keyring.create(directory / "farm.key", now=datetime.now(UTC)).write(replace=False)
    return config


def _of_a_node(config: Path) -> float:
    daemon = start_python("-m", "hcsidecar", "run", "--config", str(config))
    try:
        _await(_is_ok, "an OK of the health URL")
        return cpu_seconds(daemon.pid)
    finally:
        end(daemon, signal.SIGTERM)


def _of_an_interpreter(output: Path) -> float:
    with output.open("wb") as file:
        interpreter = start_python("-c", "import time; print(flush=True); time.sleep(60)", output=file)
    try:
        _await(lambda: output.stat().st_size > 0, "a word of an interpreter")
        return cpu_seconds(interpreter.pid)
    finally:
        end(interpreter)


def _await(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > until:
            raise CannotMeasureError(f"{what} did not come within {LIMIT:g} s")
        time.sleep(0.005)


def _is_ok() -> bool:
    connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=1)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
