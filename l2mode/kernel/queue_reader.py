"""The program that reads a netfilter queue and does with each packet what `classify` says; started by QueueFilter.

It is a process of its own, so that a flood of packets takes no time from the heartbeats, and it ends with the daemon:
its standard input is a pipe whose other end only the daemon has. (A signal at the parent's death, PR_SET_PDEATHSIG,
would come at the end of the thread that started it.) What happens without a reader is said in `queue_rules`.

A queue fills while its reader is stopped. So a packet that waited longer than `LONGEST_WAIT`, or whose judgement took
that long, counts as one that came after the lease: the tables may have changed since and changed back. And in flooded
delivery, where the bucket's former owner has judged its own copy, one that waited while the tables were swapped is
taken only if the tables before took it too (`Turns`), or for a socket that is here.
"""

import errno
import mmap
import os
import select
import signal
import socket
import sys
import time
from typing import Any, Final

from l2mode.core.classify import classify
from l2mode.core.reasons import Action, Reason
from l2mode.core.tables import Tables
from l2mode.core.turns import Turns
from l2mode.core.verdict import Delivery
from l2mode.kernel.sockets import KnownSockets

READY: Final = "ready"
"What the program writes when it reads the queue; otherwise a line with the problem and one with the remedy."
CUT_AT: Final = 4016
"Bytes of a packet that netfilterqueue hands over at most."
LONGEST_WAIT: Final = 0.1
"Seconds. Who waits longer has met a reader that did not run."

_QUEUE_LENGTH: Final = 256
"""Packets; what comes when so many wait is dropped.

Judged in 15 ms by an idle machine, and in less than `LONGEST_WAIT` on one that has six other things to do.
"""
_SOCKET_BYTES: Final = 2 << 20
"Room for a queue full of packets, with the kernel's overhead."
_PORTION: Final = 64
"Packets judged before the next look whether the daemon lives."
_LOOK_INTERVAL: Final = 0.02
"Seconds between two looks whether the tables were swapped, in flooded delivery, while no packet comes."
_SO_TIMESTAMP: Final = 29
_CLOCK_ERROR: Final = 0.001
_NO_MAC: Final = bytes(6)


class Reader:
    """Judges packets by tables that another process writes."""

    def __init__(self, tables: Tables, interface: str) -> None:
        self._tables = tables
        self._turns = (
            Turns(tables, longest_wait=LONGEST_WAIT, now=time.time()) if tables.delivery is Delivery.FLOODED else None
        )
        self._sockets = KnownSockets(interface=socket.if_nametoindex(interface))
        self._wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._wire.bind((interface, 0))
        self._wire.settimeout(0)
        # The kernel only notes when packets come in while somebody wants to know.
        self._wants_times = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._wants_times.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMP, 1)

    @property
    def look_interval(self) -> float | None:
        """Seconds after which `look` is due while no packet comes; None: never."""
        return None if self._turns is None else _LOOK_INTERVAL

    def look(self) -> None:
        """Look whether the tables were swapped."""
        if self._turns is not None:
            self._turns.look(now=time.time())

    def judge(self, packet: Any) -> None:
        """Take, drop or send on a packet of netfilterqueue's."""
        start, clock = time.monotonic_ns(), time.time()
        came = packet.get_timestamp()
        waited = clock - came
        if not -_CLOCK_ERROR <= waited <= LONGEST_WAIT:
            self._refuse(packet, Reason.LEASE_OVER)
            return
        # The queue tells the sender's MAC; a frame to another MAC than this node's, or to a group, never comes here.
        source = (packet.get_hw() or _NO_MAC)[:6]
        payload = packet.get_payload()
        frame = self._tables.own_mac + source + packet.hw_protocol.to_bytes(2) + payload
        decision = classify(frame, self._tables, known=self._sockets.known, now_ns=start)
        if decision.action is Action.DROP:
            self._refuse(packet, decision.reason)
        elif decision.action is Action.PASS:
            self._accept(packet, decision.reason)
        elif time.monotonic_ns() - start > LONGEST_WAIT * 1e9:
            self._refuse(packet, Reason.LEASE_OVER)
        elif decision.action.sends:
            self._refuse(packet, decision.reason)
            if len(payload) < CUT_AT:
                self._send(decision.frame)
        elif not (decision.reason is Reason.KNOWN or self._was_mine(frame, came)):
            self._refuse(packet, Reason.NOT_MINE)
        else:
            self._accept(packet, decision.reason)

    def _was_mine(self, frame: bytes, came: float) -> bool:
        return self._turns is None or self._turns.took_since(came, frame, now=time.time())

    def _accept(self, packet: Any, reason: Reason) -> None:
        self._tables.count(reason)
        packet.accept()

    def _refuse(self, packet: Any, reason: Reason) -> None:
        self._tables.count(reason)
        packet.drop()

    def _send(self, frame: bytes) -> None:
        """Send a frame; one that the interface has no room for is lost, as on any switch."""
        try:
            self._wire.send(frame)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENODEV):
                raise  # the interface has been replaced by another: so is this process


class _Portion(socket.socket):
    """The queue's socket, which pretends to be empty after some packets."""

    left = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Give the next packet's message; BlockingIOError when there is none, or enough for now."""
        if not self.left:
            raise BlockingIOError(errno.EAGAIN, "enough for now")
        self.left -= 1
        return super().recv(size, flags | socket.MSG_DONTWAIT)


def main(memory: int, number: int, interface: str) -> int:
    """Read the queue of this number until the standard input ends; `memory` is the descriptor of the tables."""
    # The daemon says when it is over, not systemd or the terminal, whose signals reach all processes: it may be
    # draining.
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # The daemon's heartbeats may have real-time priority. This does not.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    try:
        from netfilterqueue import COPY_PACKET, NetfilterQueue  # noqa: PLC0415 - its absence is to be explained
    except ImportError as error:
        return _say(f"the Python package netfilterqueue cannot be loaded: {error}", "pip install 'hcsidecar[l2]'")
    try:
        reader = Reader(Tables(mmap.mmap(memory, Tables.SIZE)), interface)
        queue = NetfilterQueue()
        queue.bind(number, reader.judge, _QUEUE_LENGTH, COPY_PACKET, CUT_AT, _SOCKET_BYTES)
    except OSError as error:
        return _say(
            f"packet queue {number} cannot be read: {error.strerror or error}",
            "run as root or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW, on a kernel with nfnetlink_queue",
        )
    portion = _Portion(fileno=queue.get_fd())
    waiting = select.poll()
    waiting.register(portion, select.POLLIN)
    waiting.register(sys.stdin.fileno(), select.POLLHUP)
    _say(READY)
    interval = None if reader.look_interval is None else reader.look_interval * 1000
    while all(ready != sys.stdin.fileno() for ready, _ in waiting.poll(interval)):
        reader.look()
        portion.left = _PORTION
        queue.run_socket(portion)
    return 0


def _say(*lines: str) -> int:
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
