"""A farm of one real daemon on loopback, with the checks and the application that a figure wants."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks import apache
from benchmarks.figures import CannotMeasureError
from benchmarks.processes import end, start
from benchmarks.wire import Namespace
from hcsidecar.core.farmfile.farm_file import HttpCheck, format_duration
from hcsidecar.net.keyring import Keyring

OK: Final = 200
NOT_FOUND: Final = 404
WEB_PORT: Final = 9010
POLL: Final = 0.005
"Seconds between two looks at what shall become true: as exact as any time here is."
_ASK_LIMIT: Final = 1.0
"Seconds that an answer may take."


class Tempo(NamedTuple):
    """How fast a check is, in seconds."""

    interval: float
    timeout: float

    def __str__(self) -> str:
        """Say it as the farm file does."""
        return f"interval {format_duration(self.interval)}, timeout {format_duration(self.timeout)}"


def default_tempo() -> Tempo:
    """Give that of a check whose table says nothing of it."""
    check = HttpCheck(type="http", name="WEB", address=apache.ADDRESS, port=apache.PORT)
    return Tempo(interval=check.interval, timeout=check.timeout)


def check_table(kind: str, name: str, tempo: Tempo, *, action: str | None = None) -> str:
    """Write a check of Apache's port: tcp or http."""
    return (
        f'[[check]]\ntype = "{kind}"\nname = "{name}"\naddress = "{apache.ADDRESS}"\nport = {apache.PORT}\n'
        f'interval = "{format_duration(tempo.interval)}"\ntimeout = "{format_duration(tempo.timeout)}"\n'
        + (f'action = "{action}"\n' if action else "")
    )


def farm_file(directory: Path, *, name: str, address: str, tables: str = "") -> str:
    """Write the farm file of one node; `tables` has its checks and its application."""
    return (
        f'[farm]\nname = "{name}"\nstate_dir = "{directory}/state"\n'
        f'[[node]]\nname = "web1"\naddress = "{address}"\nlisten = ["{address}:{WEB_PORT}"]\n{tables}'
    )


def application_table(application: apache.Apache) -> str:
    """Write the table of Apache's scripts; restarts are not counted, so that no pause comes before one."""
    return (
        f'[application]\nstart = "{application.start_script}"\nstop = "{application.stop_script}"\n'
        'restart_window = "0s"\n'
    )


class CheckedNode:
    """The daemon of a farm of one, in a namespace whose loopback has its address."""

    def __init__(self, directory: Path, namespace: Namespace, *, name: str, address: str, tables: str = "") -> None:
        directory.mkdir()
        self._address = address
        config = directory / "farm.toml"
        config.write_text(farm_file(directory, name=name, address=address, tables=tables))
        Keyring.create(directory / "farm.key", now=datetime.now(UTC)).write(replace=False)
        self._log = directory / "log"
        arguments = ("--config", str(config), "--node", "web1")
        command = namespace.command(sys.executable, "-m", "hcsidecar.daemon.start", *arguments)
        with self._log.open("ab") as log:
            self.daemon: subprocess.Popen[bytes] = start(*command, output=log)

    def health(self) -> int | None:
        """Ask the health URL, from its namespace."""
        return status(self._address, WEB_PORT, "/health")

    def await_health(self, wanted: int, *, limit: float = 60.0) -> float:
        """Wait for an answer of the health URL; give when it came."""
        return await_true(lambda: self.health() == wanted, what=f"/health is {wanted}", limit=limit, log=self._log)

    def stop(self) -> None:
        """Kill the daemon; what it has started is left alone. Safe to repeat."""
        end(self.daemon)


def status(address: str, port: int, path: str) -> int | None:
    """Ask over HTTP on a new connection, in the namespace of the calling thread; None without a whole answer."""
    with suppress(OSError), socket.create_connection((address, port), timeout=_ASK_LIMIT) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
        return status_in(answer)
    return None


def status_in(answer: bytes) -> int | None:
    """Give the status code of an answer; None when it has none."""
    words = answer.partition(b"\r\n")[0].split()
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else None


def await_true(condition: Callable[[], bool], *, what: str, limit: float, log: Path | None = None) -> float:
    """Look until something is true; give when, in monotonic seconds. CannotMeasureError says what never was."""
    until = time.monotonic() + limit
    while not condition():
        if time.monotonic() > until:
            said = log.read_text().splitlines()[-1:] if log is not None else []
            last = f"; last words: {said[0]}" if said else ""
            raise CannotMeasureError(f"within {limit:g} s it did not happen that {what}{last}")
        time.sleep(POLL)
    return time.monotonic()
