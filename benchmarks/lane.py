"""A sender and a receiver in network namespaces, and how many packets a second a core brings from one to the other."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from typing import Final

from pyroute2 import IPRoute

from benchmarks.flood import Kind, Programs, programs
from benchmarks.wire import Namespace, cable, namespaces

VIP: Final = IPv4Address("203.0.113.50")
PORT: Final = 80
OUT, IN = "out", "in"
"The two ends of the cable."
NATIVE, GENERIC = 4, 2
"XDP_FLAGS_DRV_MODE and XDP_FLAGS_SKB_MODE of linux/if_link.h."

_INGRESS: Final = 0xFFFFFFF2
_ALL_PROTOCOLS: Final = 3
"ETH_P_ALL, in network order."


class Lane:
    """The receiver has the VIP on `lo`; what becomes of the packets is for whoever puts a filter there."""

    def __init__(self, sender: Namespace, receiver: Namespace, loaded: Programs) -> None:
        self.sender = sender
        self.receiver = receiver
        self.programs = loaded
        cable(sender, OUT, receiver, IN)
        # Without a native program only GRO has the receiver's end take frames.
        receiver.run("ethtool", "-K", IN, "gro", "on")
        receiver.ip("address", "add", f"{VIP}/32", "dev", "lo")
        receiver.ip("address", "add", "203.0.113.1/24", "dev", IN)
        receiver.ip("route", "add", "default", "dev", IN)
        with sender.entered():
            self._out = socket.if_nametoindex(OUT)
        with receiver.entered():
            self._in = socket.if_nametoindex(IN)
        self.macs = receiver.mac(IN) + sender.mac(OUT)

    def rate(self, kind: Kind, *, seconds: float, destination: bytes | None = None) -> float:
        """Send for a while; give the millions of packets that a second of the core brought to the receiver."""
        macs = self.macs if destination is None else destination + self.macs[6:]
        with self.sender.entered():
            self.programs.aim(kind, interface=self._out, macs=macs, vip=VIP, port=PORT)
            self.programs.send(seconds=seconds / 10)
            before = self.received()
            took = self.programs.send(seconds=seconds)
        return (self.received() - before) / took / 1e6

    def received(self) -> int:
        """Count the packets that have come to the receiver so far."""
        links = json.loads(self.receiver.ip("-json", "-statistics", "link", "show", IN))
        return int(links[0]["stats64"]["rx"]["packets"])

    @contextmanager
    def listener(self) -> Iterator[None]:
        """Have a UDP socket at the VIP that nobody reads."""
        with self.receiver.entered():
            listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with listener:
            listener.bind((str(VIP), PORT))
            yield

    @contextmanager
    def xdp(self, program: int, mode: int) -> Iterator[None]:
        """Have an XDP program, given by its descriptor, at the receiver's end while the block runs."""
        with self._netlink() as netlink:
            netlink.link("set", index=self._in, xdp={"attrs": [("IFLA_XDP_FD", program), ("IFLA_XDP_FLAGS", mode)]})
        try:
            yield
        finally:
            with self._netlink() as netlink:
                netlink.link("set", index=self._in, xdp={"attrs": [("IFLA_XDP_FD", -1), ("IFLA_XDP_FLAGS", mode)]})

    @contextmanager
    def tc(self, program: int) -> Iterator[None]:
        """Have a tc program there."""
        with self._netlink() as netlink:
            netlink.tc("add", "clsact", self._in)
            netlink.tc(
                *("add-filter", "bpf", self._in),
                fd=program,
                name="bench",
                parent=_INGRESS,
                prio=1,
                handle=1,
                protocol=_ALL_PROTOCOLS,
                direct_action=True,
            )
        try:
            yield
        finally:
            with self._netlink() as netlink:
                netlink.tc("del", "clsact", self._in)

    @contextmanager
    def _netlink(self) -> Iterator[IPRoute]:
        with self.receiver.entered(), IPRoute() as netlink:
            yield netlink


@contextmanager
def lane() -> Iterator[Lane]:
    """Lay a lane whose packets all run on the last core; the calling process is held there until the end."""
    cores = os.sched_getaffinity(0)
    with programs() as loaded, namespaces("sender", "receiver") as (sender, receiver):
        os.sched_setaffinity(0, {max(cores)})
        try:
            yield Lane(sender, receiver, loaded)
        finally:
            os.sched_setaffinity(0, cores)
