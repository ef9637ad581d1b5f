"""A farm of real daemons in network namespaces on a Linux bridge, and a silent node that hears what they say.

The witness stands in the farm file like any other node, so that every daemon sends it heartbeats; it never answers, and
so is never a member. It reads them with the time at which the kernel took them in: how late this process runs does
not matter.
"""

import json
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from benchmarks.figures import CannotMeasureError
from benchmarks.processes import end, start
from benchmarks.wire import BRIDGE, INTERFACE, Namespace, Switch, namespaces
from hcsidecar.core.membership.heartbeat import Heartbeat, decode
from hcsidecar.net.keyring import Keyring
from hcsidecar.net.sealing import DatagramOpener, Opened

FARM = "bench"
HEARTBEAT_PORT = 4803
WEB_PORT = 9010
WITNESS = "zz-witness"
_OBSERVER = "192.0.2.1"
PATIENCE = 60.0
"Seconds that a farm may take to settle: two cores start sixteen interpreters."

_SO_TIMESTAMPNS = 35
"Of asm-generic/socket.h; Python does not name it."
_TIMESPEC = struct.Struct("qq")
_L2 = f"""\
[l2]
interface = "{INTERFACE}"
filter = "tc"
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
    """Hears the heartbeats of the farm, in the network namespace that has its address."""

    def __init__(self, home: Namespace, address: str, keyring: Keyring, names: tuple[str, ...]) -> None:
        self._opener = DatagramOpener(keyring=keyring, farm=FARM, known_nodes=names)
        with home.entered():
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
    """A farm file in a directory, and the daemons that run from it.

    Nodes for which `homes` has no namespace share the last one.
    """

    def __init__(
        self,
        directory: Path,
        switch: Switch,
        homes: tuple[Namespace, ...],
        *,
        size: int,
        realtime: bool,
        preset: str,
        witness: bool,
        layer_two: bool,
    ) -> None:
        self.directory = directory
        self.names = tuple(f"web{number:02}" for number in range(1, size + 1))
        names = (*self.names, WITNESS) if witness else self.names
        self.addresses = {name: f"192.0.2.{number}" for number, name in enumerate(names, start=101)}
        self.homes = {name: homes[min(index, len(homes) - 1)] for index, name in enumerate(self.names)}
        self.observer = switch.namespace
        "Where the witness lives, and who asks for the nodes' health."
        self.observer.ip("address", "add", f"{self.addresses.get(WITNESS, _OBSERVER)}/24", "dev", BRIDGE)
        for home in homes:
            inhabitants = [name for name in self.names if self.homes[name] is home]
            switch.plug_in(inhabitants[0], home, *(self.addresses[name] for name in inhabitants))
        self.config = directory / "farm.toml"
        self.config.write_text(
            f'[farm]\nname = "{FARM}"\nstate_dir = "{directory}/s"\n'
            f'[heartbeat]\npreset = "{preset}"\nrealtime = {str(realtime).lower()}\n'
            + "".join(
                f'[[node]]\nname = "{name}"\naddress = "{address}"\nlisten = ["{address}:{WEB_PORT}"]\n'
                for name, address in self.addresses.items()
            )
            + (_L2 if layer_two else "")
        )
        self.keyring = Keyring.create(directory / "farm.key", now=datetime.now(UTC))
        self.keyring.write(replace=False)
        self.witness = Witness(self.observer, self.addresses[WITNESS], self.keyring, names) if witness else None
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> float:
        """Start daemons, all by default; give the time just before, in seconds of the wall clock."""
        began = time.time()
        for name in names or self.names:
            arguments = ("--config", str(self.config), "--node", name, "--log-json")
            with self._log(name).open("ab") as log:
                daemon = (sys.executable, "-m", "hcsidecar.daemon.start", *arguments)
                self.daemons[name] = start(*self.homes[name].command(*daemon), output=log)
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
def real_farm(
    *,
    size: int,
    realtime: bool = True,
    preset: str = "lan",
    witness: bool = True,
    layer_two: bool = True,
    real: int | None = None,
) -> Iterator[RealFarm]:
    """Make a farm, whose daemons are started by the block; end them all at its end.

    `real` is how many nodes get a namespace of their own, all by default; the others share one.
    """
    names = [f"node{number}" for number in range(size if real is None else min(size, real + 1))]
    with (
        tempfile.TemporaryDirectory(prefix="hcsidecar-bench-") as directory,
        namespaces("switch", *names) as (switch, *homes),
    ):
        farm = RealFarm(
            Path(directory),
            Switch(switch),
            tuple(homes),
            size=size,
            realtime=realtime,
            preset=preset,
            witness=witness,
            layer_two=layer_two,
        )
        try:
            yield farm
        finally:
            farm.stop()
