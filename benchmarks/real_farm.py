"""A farm of real daemons on this machine's loopback addresses, and a silent node that hears what they say.

The witness stands in the farm file like any other node, so that every daemon sends it heartbeats; it never answers, and
so is never a member. It reads them with the time at which the kernel took them in: how late this process runs does
not matter.
"""

import json
import select
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import CannotMeasureError
from benchmarks.processes import end, start_python
from hcsidecar.core.messages import Heartbeat, decode
from hcsidecar.net.keyring import Keyring
from hcsidecar.net.sealing import Opened, Opener

FARM = "bench"
HEARTBEAT_PORT = 4803
WEB_PORT = 9010
WITNESS = "zz-witness"
PATIENCE = 60.0
"Seconds that a farm may take to settle: two cores start sixteen interpreters."

_SO_TIMESTAMPNS = 35
"Of asm-generic/socket.h; Python does not name it."
_TIMESPEC = struct.Struct("qq")
_L2 = """\
[l2]
[[l2.vip]]
address = "192.0.2.50"
[[l2.share]]
name = "WEB"
protocol = "tcp"
ports = [80, 443]
"""


class Heard(NamedTuple):
    """A heartbeat, and when it was sent, in seconds of the wall clock."""

    at: float
    heartbeat: Heartbeat


class Witness:
    """Hears the heartbeats of the farm."""

    def __init__(self, address: str, keyring: Keyring, names: tuple[str, ...]) -> None:
        self._opener = Opener(keyring=keyring, farm=FARM, known_nodes=names)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_000_000)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((address, HEARTBEAT_PORT))
        self.latest: dict[str, Heard] = {}
        "Of each node."

    def close(self) -> None:
        """Hear nothing any more."""
        self._socket.close()

    def hear(self, limit: float) -> Heard | None:
        """Give the next heartbeat, or None if there is none within `limit` seconds."""
        if not select.select([self._socket], [], [], limit)[0]:
            return None
        datagram, ancillary, _, _ = self._socket.recvmsg(65_535, 64)
        opened = self._opener.open(datagram)
        heartbeat = decode(opened.plaintext) if isinstance(opened, Opened) else None
        if heartbeat is None:
            return None
        seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2][: _TIMESPEC.size])
        heard = Heard(seconds + nanoseconds / 1e9, heartbeat)
        self.latest[heartbeat.node] = heard
        return heard

    def hear_until(self, condition: Callable[[Heard], bool], *, what: str, limit: float = PATIENCE) -> float:
        """Hear until one heartbeat makes a condition true; give when that was sent."""
        until = time.monotonic() + limit
        while (left := until - time.monotonic()) > 0:
            heard = self.hear(left)
            if heard is not None and condition(heard):
                return heard.at
        raise CannotMeasureError(f"within {limit:g} s it did not happen that {what}")

    def drain(self) -> None:
        """Hear all that waits."""
        while self.hear(0) is not None:
            pass


class RealFarm:
    """A farm file in a directory, and the daemons that run from it."""

    def __init__(
        self, directory: Path, *, size: int, realtime: bool = True, preset: str = "lan", witness: bool = True
    ) -> None:
        self.directory = directory
        self.names = tuple(f"web{number:02}" for number in range(1, size + 1))
        names = (*self.names, WITNESS) if witness else self.names
        network = _free_network(len(names))
        self.addresses = {name: f"{network}.{number}" for number, name in enumerate(names, start=1)}
        self.config = directory / "farm.toml"
        self.config.write_text(
            f'[farm]\nname = "{FARM}"\nstate_dir = "{directory}/s"\n'
            f'[heartbeat]\npreset = "{preset}"\nrealtime = {str(realtime).lower()}\n'
            + "".join(
                f'[[node]]\nname = "{name}"\naddress = "{address}"\nlisten = ["{address}:{WEB_PORT}"]\n'
                for name, address in self.addresses.items()
            )
            + _L2
        )
        self.keyring = Keyring.create(directory / "farm.key", now=datetime.now(UTC))
        self.keyring.write(replace=False)
        self.witness = Witness(self.addresses[WITNESS], self.keyring, names) if witness else None
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> float:
        """Start daemons, all by default; give the time just before, in seconds of the wall clock."""
        began = time.time()
        for name in names or self.names:
            arguments = ("--config", str(self.config), "--node", name, "--log-json")
            with self._log(name).open("ab") as log:
                self.daemons[name] = start_python("-m", "hcsidecar.daemon", *arguments, output=log)
        return began

    def kill(self, name: str) -> float:
        """Kill a daemon with SIGKILL; give the time just before, in seconds of the wall clock."""
        daemon = self.daemons.pop(name)
        at = time.time()
        end(daemon)
        return at

    def stop(self) -> None:
        """End all daemons. Safe to repeat."""
        while self.daemons:
            self.kill(next(iter(self.daemons)))
        if self.witness is not None:
            self.witness.close()

    def await_settled(self, *, since: float) -> tuple[float, float]:
        """Wait until all that run are in one view, and have claimed what it gives them; give when each came true.

        Only what was sent after `since` counts; all times are of the wall clock.
        """
        witness = self._witness()
        agreed: dict[str, float] = {}
        claimed: dict[str, float] = {}
        running = sorted(self.daemons)

        def look(heard: Heard) -> bool:
            heartbeat = heard.heartbeat
            if heard.at < since or heartbeat.node not in self.daemons:
                return False
            if [name for name, _ in heartbeat.view] != running:
                agreed.pop(heartbeat.node, None)
                claimed.pop(heartbeat.node, None)
                return False
            agreed.setdefault(heartbeat.node, heard.at)
            if heartbeat.holding and not heartbeat.ask:
                claimed.setdefault(heartbeat.node, heard.at)
            else:
                claimed.pop(heartbeat.node, None)
            return len(claimed) == len(running)

        try:
            witness.hear_until(look, what=f"{len(running)} daemons agree and hold their buckets")
        except CannotMeasureError as error:
            raise CannotMeasureError(f"{error}; {self._why_not_running()}") from None
        return max(agreed.values()), max(claimed.values())

    def log(self, name: str) -> list[tuple[float, str]]:
        """Give time and message of every line of a daemon's log."""
        lines = []
        for line in self._log(name).read_text().splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                lines.append((0.0, line))
            else:
                lines.append((datetime.fromisoformat(entry["time"]).timestamp(), entry["message"]))
        return lines

    def first_said(self, name: str, text: str, *, since: float) -> float | None:
        """Give when a daemon first logged a text after a time, or None."""
        # The log knows milliseconds.
        return next((at for at, message in self.log(name) if at >= since - 0.001 and text in message), None)

    def _witness(self) -> Witness:
        assert self.witness is not None  # noqa: S101 - who asks this has one
        return self.witness

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _why_not_running(self) -> str:
        ended = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
        if not ended:
            return "all of them run"
        last = self.log(ended[0])[-1:]
        return f"{', '.join(ended)} ended; {ended[0]} said last: {last[0][1] if last else 'nothing'}"


@contextmanager
def real_farm(*, size: int, realtime: bool = True, preset: str = "lan", witness: bool = True) -> Iterator[RealFarm]:
    """Make a farm, whose daemons are started by the block; end them all at its end."""
    with tempfile.TemporaryDirectory(prefix="hcsidecar-bench-") as directory:
        farm = RealFarm(Path(directory), size=size, realtime=realtime, preset=preset, witness=witness)
        try:
            yield farm
        finally:
            farm.stop()


def _free_network(hosts: int) -> str:
    for third in range(250):
        network = f"127.79.{third}"
        try:
            for host in range(1, hosts + 1):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind((f"{network}.{host}", HEARTBEAT_PORT))
        except OSError:
            continue
        return network
    raise CannotMeasureError(f"UDP port {HEARTBEAT_PORT} is in use everywhere below 127.79.0.0/16")
