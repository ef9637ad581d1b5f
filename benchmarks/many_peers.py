"""Stands in for all nodes of a farm but one, so that one real daemon can be measured in a farm of 64 on two cores.

Every peer sends a sealed heartbeat each pulse, in a phase of its own, with the view of the whole farm, all others
listed with their latest sequences, the real node's among them; who asks is answered at once. What the real node sends
is received on every peer's socket, but opened only once.

    python -m benchmarks.many_peers --config farm.toml --real web01
"""

import argparse
import heapq
import selectors
import socket
import time
from pathlib import Path
from random import Random

from hcsidecar.core.farmfile.farm_file import FarmFile
from hcsidecar.core.membership.heartbeat import Heartbeat, View, decode, encode
from hcsidecar.farmfile.loading import load
from hcsidecar.net.keyring import Keyring
from hcsidecar.net.sealing import DatagramOpener, DatagramSealer, Opened

BOOT = 1


class Peers:
    """All nodes but the real one."""

    def __init__(self, farm: FarmFile, keyring: Keyring, *, real: str) -> None:
        self._farm = farm
        self._real = real
        self._port = farm.heartbeat.port
        self._destination = (farm.node_named(real).address, self._port)
        self._names = tuple(sorted(node.name for node in farm.node if node.name != real))
        self._settings = farm.settings_digest()
        self._powers = {node.name: farm.powers_of(node.name) for node in farm.node}
        self._sealers = {name: DatagramSealer(keyring, farm.farm.name, name, BOOT) for name in self._names}
        self._opener = DatagramOpener(keyring, farm.farm.name, (real,))
        self._sequences = dict.fromkeys(self._names, 0)
        self._sockets = {name: socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for name in self._names}
        for name, bound in self._sockets.items():
            bound.setblocking(False)  # noqa: FBT003 - the socket module takes it so
            bound.bind((farm.node_named(name).address, self._port))
        self._heard: Heartbeat | None = None
        "The latest of the real node."
        self._view = self._view_of(self._names)

    def run(self) -> None:
        """Speak and listen until killed."""
        pulse = self._farm.heartbeat.pulse
        random = Random(64)
        now = time.monotonic()
        due = [(now + random.random() * pulse, name) for name in self._names]
        heapq.heapify(due)
        selector = selectors.DefaultSelector()
        for bound in self._sockets.values():
            selector.register(bound, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select(max(0.0, due[0][0] - time.monotonic())):
                assert isinstance(key.fileobj, socket.socket)  # noqa: S101 - nothing else was registered
                self._receive(key.fileobj)
            while due[0][0] <= time.monotonic():
                at, name = due[0]
                self._send(name)
                heapq.heapreplace(due, (at + pulse, name))

    def _receive(self, bound: socket.socket) -> None:
        opened = self._opener.open(bound.recv(65_535))
        if not isinstance(opened, Opened):
            return
        if self._heard is not None and (opened.boot, opened.seq) <= (self._heard.boot, self._heard.seq):
            return
        self._heard = heartbeat = decode(opened.plaintext)
        if heartbeat is None:
            return
        everybody = self._view_of((*self._names, self._real))
        # The real node joins as soon as it wants to, and as soon as it says itself that all are in.
        self._view = everybody if heartbeat.wants else self._view_of(self._names)
        if heartbeat.ask:
            for name in self._names:
                self._send(name)

    def _send(self, name: str) -> None:
        self._sequences[name] += 1
        heard = [(other, BOOT, self._sequences[other]) for other in self._names if other != name]
        if self._heard is not None:
            heard = sorted([*heard, (self._real, self._heard.boot, self._heard.seq)])
        heartbeat = Heartbeat(
            farm=self._farm.farm.name,
            node=name,
            boot=BOOT,
            seq=self._sequences[name],
            role="UP",
            status="Ready",
            wants=True,
            powers=self._powers[name],
            settings_digest=self._settings,
            view=self._view,
            holding=True,
            heard_boots=tuple([(other, boot) for other, boot, _ in heard]),
            heard_seqs=tuple([sequence for _, _, sequence in heard]),
        )
        self._sockets[name].sendto(self._sealers[name].seal(heartbeat.seq, encode(heartbeat)), self._destination)

    def _view_of(self, names: tuple[str, ...]) -> View:
        return tuple((name, self._powers[name]) for name in sorted(names))


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--real", required=True)
    options = parser.parse_args()
    loaded = load(options.config)
    Peers(loaded.farm, loaded.keyring, real=options.real).run()


if __name__ == "__main__":
    main()
