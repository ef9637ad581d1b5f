"""The program that reads a netfilter queue and applies `classify` to each packet; `QueueFilter` starts it.

It is a process of its own, so that a flood of packets takes no time from the heartbeats. It ends with the daemon: its
standard input is a pipe whose other end only the daemon has. (A signal at the parent's death, PR_SET_PDEATHSIG, would
come at the end of the thread that started it.) `queue_rules` says what happens without a reader.

A queue fills while its reader does not run. A packet that has waited longer than `LONGEST_WAIT`, or whose verdict took
that long, therefore counts as one that came after the lease. In directed delivery, a packet that has waited less is
like one that was late on the wire: there is no other copy. In flooded delivery, the bucket's former owner may have
taken its own copy before the tables were swapped. A packet is then taken only if the tables before took it too
(`Turns`), or if this node has its socket.
"""

import errno
import fcntl
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Final

from l2mode.core.classify import Decision, classify
from l2mode.core.offloads import work_left
from l2mode.core.packets import ETHERNET, SIGHT
from l2mode.core.queue_length import QueueLength
from l2mode.core.reasons import Action, Reason
from l2mode.core.tables import Tables
from l2mode.core.turns import Turns
from l2mode.core.verdict import Delivery
from l2mode.kernel.queue_socket import LONGEST, QueueSocket, Waiting
from l2mode.kernel.sockets import KnownSockets

READY: Final = "ready"
"What the program writes once it reads the queue; otherwise it writes a line with the problem and one with the remedy."
LONGEST_WAIT: Final = 0.5
"""Seconds. A packet that waits longer has met a reader that did not run, and its sender has given up or tries again.

Beside five runnable programs for each processor, 0.14 s was the longest wait measured. A lost SYN costs its client a
second.
"""

_PORTION: Final = 64
"Packets that are judged before the next check whether the daemon lives."
_LOOK_INTERVAL: Final = 0.02
"Seconds between two checks for swapped tables, in flooded delivery, while no packet comes."
_CLOCK_ERROR: Final = 0.001
_SEEN: Final = SIGHT - ETHERNET
"Bytes of a packet that its verdict depends on."
_SEND_BYTES: Final = 4 << 20
"""Buffer for packets sent on faster than the wire takes them.

The kernel takes twice this value and counts its own overhead: 3,600 frames of 1,514 bytes fit, 45 ms of a gigabit.
"""
_QUEUES: Final = 1 << 16
_TRIES: Final = 64

# asm-generic/socket.h, linux/if_packet.h, linux/sockios.h
_SO_TIMESTAMP: Final = 29
_SO_SNDBUFFORCE: Final = 32
_SOL_PACKET: Final = 263
_PACKET_VNET_HDR: Final = 15
_SIOCGIFMTU: Final = 0x8921
_INTERFACE_REQUEST: Final = struct.Struct("=16si20x")


class QueueReader:
    """Judges packets by tables that another process writes."""

    def __init__(self, tables: Tables, interface: str, number: int) -> None:
        """Read the queue of this number. Raise OSError if that is not possible."""
        self._tables = tables
        self._interface = interface
        self._sockets = KnownSockets(interface=socket.if_nametoindex(interface))
        self._wire = _wire(interface)
        # The kernel notes the time at which packets come in only while a socket asks for it.
        self._wants_times = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._wants_times.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMP, 1)
        self._length = QueueLength()
        self._queue = QueueSocket()
        flooded = tables.delivery is Delivery.FLOODED
        self._turns = Turns(tables, longest_wait=LONGEST_WAIT, now=time.time()) if flooded else None
        self.interval = _LOOK_INTERVAL if flooded else None
        "Seconds after which `work` is due even if no packet has come; None: never."
        # Only a filter that sends packets on needs more of them than their headers.
        copied = _SEEN if flooded else LONGEST
        self._queue.bind(number, copied=copied, merged=True, length=self._length.packets)
        self._numbers = [number] if flooded else [number, self._bind_another(number)]
        "In the second queue wait packets that only the kernel can separate or finish."

    def fileno(self) -> int:
        """Return the descriptor that is readable while packets wait."""
        return self._queue.fileno()

    def work(self) -> None:
        """Judge the packets that wait, up to a limit."""
        if self._turns is not None:
            self._turns.look(now=time.time())
        judged, start = 0, time.monotonic()
        while judged < _PORTION and (packet := self._queue.receive()) is not None:
            self._judge(packet)
            judged += 1
        if judged and self._length.worked(judged, time.monotonic() - start):
            for number in self._numbers:
                self._queue.set_length(number, self._length.packets)

    def _judge(self, packet: Waiting) -> None:
        """Take or drop a packet, or send it on."""
        start = time.monotonic_ns()
        if not -_CLOCK_ERROR <= time.time() - packet.came <= LONGEST_WAIT:
            self._refuse(packet, Reason.LEASE_OVER)
            return
        # The queue gives the sender's MAC. A frame to a MAC other than this node's, or to a group, never comes here.
        frame = b"".join([self._tables.own_mac, packet.source, packet.ethertype, packet.payload[:_SEEN]])
        decision = classify(frame, self._tables, known=self._sockets.known, now_ns=start)
        if decision.action is Action.DROP:
            self._refuse(packet, decision.reason)
        elif decision.action is Action.PASS:
            self._accept(packet, decision.reason)
        elif time.monotonic_ns() - start > LONGEST_WAIT * 1e9:
            self._refuse(packet, Reason.LEASE_OVER)
        elif decision.action.sends:
            self._send_on(packet, frame, decision)
        elif not (decision.reason is Reason.KNOWN or self._was_mine(packet, frame)):
            self._refuse(packet, Reason.NOT_MINE)
        else:
            self._accept(packet, decision.reason)

    def _was_mine(self, packet: Waiting, frame: bytes) -> bool:
        return self._turns is None or self._turns.took_since(packet.came, frame, now=time.time())

    def _accept(self, packet: Waiting, reason: Reason) -> None:
        self._tables.count(reason)
        self._queue.accept(packet)

    def _refuse(self, packet: Waiting, reason: Reason) -> None:
        self._tables.count(reason)
        self._queue.drop(packet)

    def _send_on(self, packet: Waiting, frame: bytes, decision: Decision) -> None:
        length = ETHERNET + packet.length
        header = work_left(frame, length=length, partial=packet.partial, merged=packet.merged, mtu=self._mtu())
        if header is not None and len(packet.payload) == packet.length:
            self._refuse(packet, decision.reason)
            self._send(header, decision.frame, packet.payload[_SEEN:])
        elif packet.queue == self._numbers[0]:
            self._queue.hand_on(packet, self._numbers[1])
        else:
            self._refuse(packet, decision.reason)

    def _send(self, *parts: bytes | memoryview) -> None:
        """Send a frame; if the interface has no room for it, it is lost, as on any switch."""
        try:
            self._wire.sendmsg(parts)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.ENODEV):
                raise  # the interface has been replaced, so this process must be replaced too

    def _mtu(self) -> int:
        answer = fcntl.ioctl(self._wire, _SIOCGIFMTU, _INTERFACE_REQUEST.pack(self._interface.encode(), 0))
        return int(_INTERFACE_REQUEST.unpack(answer)[1])

    def _bind_another(self, number: int) -> int:
        """Read another queue as well, whose packets the kernel separates and finishes. Return its number."""
        for other in range(number + 1, number + _TRIES):
            try:
                self._queue.bind(other % _QUEUES, copied=LONGEST, merged=False, length=self._length.packets)
            except OSError:
                continue  # somebody else reads it
            return other % _QUEUES
        raise OSError(errno.EBUSY, f"{_TRIES} packet queues are in use")


def _wire(interface: str) -> socket.socket:
    """Return a socket that sends whole frames, preceded by a header that states the work left on them (packet(7))."""
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    wire.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    try:
        wire.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _SEND_BYTES)
    except PermissionError:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BYTES)
    wire.bind((interface, 0))
    wire.settimeout(0)
    return wire


def main(memory: int, number: int, interface: str) -> int:
    """Read the queue of this number until standard input ends; `memory` is the descriptor of the tables."""
    # The daemon decides when this process ends, not systemd or the terminal, whose signals reach all processes: the
    # daemon may be draining.
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # The daemon's heartbeats may have real-time priority. This process must not.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, 0)
    try:
        reader = QueueReader(Tables(mmap.mmap(memory, Tables.SIZE)), interface, number)
    except ImportError as error:
        return _say(f"the Python package netfilterqueue cannot be loaded: {error}", "pip install 'hcsidecar[l2]'")
    except OSError as error:
        return _say(
            f"packet queue {number} cannot be read: {error.strerror or error}",
            "run as root or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW, on a kernel with nfnetlink_queue",
        )
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)
    waiting.register(sys.stdin.fileno(), select.POLLHUP)
    _say(READY)
    interval = None if reader.interval is None else reader.interval * 1000
    while all(ready != sys.stdin.fileno() for ready, _ in waiting.poll(interval)):
        reader.work()
    return 0


def _say(*lines: str) -> int:
    sys.stdout.write("\n".join([*lines, ""]))
    sys.stdout.flush()
    return 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
