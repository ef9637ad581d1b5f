"""Packets that wait for a verdict in netfilter queues, read with netfilterqueue, and what that package lacks.

A queue hands packets over as the kernel has them, many in one (NFQA_CFG_F_GSO), or separated and finished. The kernel
keeps each until its verdict; packets that come while a queue or its socket is full are dropped. netfilterqueue supports
neither this flag, nor packets over 4,016 bytes, nor the state of a packet's checksum, nor a verdict that hands a packet
to another queue. This module writes and reads these messages itself, on the same socket
(linux/netfilter/nfnetlink_queue.h).
"""

import errno
import os
import select
import socket
import struct
from typing import Any, Final, NamedTuple

from l2mode.kernel.netlink_messages import ACKNOWLEDGE, ERROR, HEADER, attribute, attributes, error_number, message

LONGEST: Final = 0xFFFF - 4
"The most bytes of a packet that the kernel hands over: the capacity of an attribute."

_SOL_NETLINK: Final = 270
_NETLINK_NO_ENOBUFS: Final = 5

# linux/netfilter/nfnetlink_queue.h, of the subsystem 3
_VERDICT: Final = 0x301
_CONFIG: Final = 0x302
_A_VERDICT_HEADER: Final = 2
_A_WHOLE_LENGTH: Final = 13
_A_STATE: Final = 14
_WANTED: Final = frozenset({_A_WHOLE_LENGTH, _A_STATE})
_PARTIAL_CHECKSUM: Final = 1
_MERGED: Final = 2
_C_PARAMETERS: Final = 2
_C_LENGTH: Final = 3
_C_MASK: Final = 4
_C_FLAGS: Final = 5
_COPIES_PACKETS: Final = 2
_F_GSO: Final = 4

_HAND_ON: Final = 3
"NF_QUEUE of linux/netfilter.h; the number of the queue goes into the upper 16 bits."

_ATTRIBUTES_AT: Final = HEADER.size + 4
"After struct nfgenmsg: family, version, and the number of the queue."
_NO_MAC: Final = bytes(6)
_PATIENCE: Final = 5.0
"Seconds to wait for the kernel's answer, which comes at once."
_BUFFER: Final = (1 << 16) + 4096
_SOCKET_BYTES: Final = 4 << 20
"Room for all packets that wait, with the kernel's overhead: sixty merged packets, or a thousand of the wire's size."


class Waiting(NamedTuple):
    """A packet that waits for its verdict."""

    queue: int
    packet: Any
    "netfilterqueue's packet."
    came: float
    "In seconds of the wall clock; 0 if the kernel has not noted it."
    source: bytes
    "The MAC that it came from; zeros if the interface has none."
    ethertype: bytes
    payload: memoryview
    "Begins with the IP header."
    length: int
    "Length of the whole packet; the payload may be only its beginning."
    partial: bool
    "Its checksum covers the pseudo header only."
    merged: bool
    "It is many packets in one."


class QueueSocket:
    """Reads queues of the network namespace of the thread that creates it."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []
        self._ready = select.epoll()

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._ready.fileno()

    def close(self) -> None:
        """Stop reading; the kernel drops what waits."""
        self._ready.close()
        for queue in self._queues:
            queue.close()
        self._queues.clear()

    def bind(self, queue: int, *, copied: int, merged: bool, length: int) -> None:
        """Read a queue in which `length` packets may wait.

        `copied` is the number of bytes that are read of each packet; `merged` packets are handed over as they are, or
        else separated. Raise OSError if somebody else reads the queue, or reading is not permitted.
        """
        bound = _Queue(queue, copied=copied, merged=merged, length=length)
        self._queues.append(bound)
        self._ready.register(bound.fileno(), select.EPOLLIN)

    def set_length(self, queue: int, length: int) -> None:
        """Set the number of packets that may wait."""
        self._of(queue).set_length(length)

    def receive(self) -> Waiting | None:
        """Return the next packet, or None if there is none."""
        for _ in self._queues:
            # The queues take turns: one that is never empty must not keep the other waiting.
            queue = self._queues.pop(0)
            self._queues.append(queue)
            packet = queue.receive()
            if packet is not None:
                return packet
        return None

    def accept(self, packet: Waiting) -> None:
        """Let the network stack have the packet, as the kernel has it."""
        packet.packet.accept()

    def drop(self, packet: Waiting) -> None:
        """Have the kernel drop the packet."""
        packet.packet.drop()

    def hand_on(self, packet: Waiting, queue: int) -> None:
        """Move the packet to another queue, where it waits again."""
        self._of(packet.queue).hand_on(packet.packet.id, queue)

    def _of(self, number: int) -> "_Queue":
        return next(queue for queue in self._queues if queue.number == number)


class _Queue:
    """One queue, with a socket of its own."""

    def __init__(self, number: int, *, copied: int, merged: bool, length: int) -> None:
        from netfilterqueue import COPY_PACKET, NetfilterQueue  # noqa: PLC0415 - optional; its absence is to be explained

        self.number = number
        self._queue = NetfilterQueue()
        self._queue.bind(number, self._take, length, COPY_PACKET, copied, _SOCKET_BYTES)
        self._messages = _Messages(fileno=os.dup(self._queue.get_fd()))
        self._found: Waiting | None = None
        self._answer: int | None = None
        "The error number of the kernel's latest answer; 0 if there was none."
        # A full socket must lose only what does not fit, not everything that comes until it is empty.
        self._messages.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        flags = _F_GSO if merged else 0
        self._configure(
            (_C_PARAMETERS, struct.pack("!IB", min(copied, LONGEST), _COPIES_PACKETS)),
            (_C_MASK, struct.pack("!I", _F_GSO)),
            (_C_FLAGS, struct.pack("!I", flags)),
            flags=ACKNOWLEDGE,
        )
        self._wait_for_answer()

    def fileno(self) -> int:
        return self._messages.fileno()

    def close(self) -> None:
        self._queue.unbind()
        self._messages.close()

    def set_length(self, length: int) -> None:
        self._configure((_C_LENGTH, struct.pack("!I", length)))

    def receive(self) -> Waiting | None:
        """Return the next packet, or None if there is none."""
        while True:
            self._found = None
            self._messages.wanted = True
            self._queue.run_socket(self._messages)
            if self._found is not None or self._messages.wanted:
                return self._found
            self._note_answer()

    def hand_on(self, packet: int, queue: int) -> None:
        value = struct.pack("!II", queue << 16 | _HAND_ON, packet)
        self._send(_VERDICT, attribute(_A_VERDICT_HEADER, value))

    def _take(self, packet: Any) -> None:
        """Note the packet of the message that has just been received."""
        parts = attributes(self._messages.latest, _ATTRIBUTES_AT, wanted=_WANTED)
        # netfilterqueue raises an exception if asked for the payload of a packet that has none.
        payload = memoryview(packet.get_payload() if packet.get_payload_len() else b"")
        state = int.from_bytes(parts.get(_A_STATE, b""))
        self._found = Waiting(
            queue=self.number,
            packet=packet,
            came=packet.get_timestamp(),
            source=(packet.get_hw() or _NO_MAC)[:6],
            ethertype=packet.hw_protocol.to_bytes(2),
            payload=payload,
            length=int.from_bytes(parts.get(_A_WHOLE_LENGTH, b"")) or len(payload),
            partial=bool(state & _PARTIAL_CHECKSUM),
            merged=bool(state & _MERGED),
        )

    def _note_answer(self) -> None:
        """Note the kernel's answer to a request.

        Once the queue is bound, this concerns a verdict on a packet that the kernel has since dropped, with its
        interface.
        """
        latest = self._messages.latest
        _, kind, *_ = HEADER.unpack_from(latest)
        if kind == ERROR:
            self._answer = error_number(latest)

    def _wait_for_answer(self) -> None:
        """Drop the packets that come before the kernel's answer. Raise OSError if the answer is a refusal."""
        waiting = select.poll()
        waiting.register(self._messages, select.POLLIN)
        while self._answer is None:
            if not waiting.poll(_PATIENCE * 1000):
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            packet = self.receive()
            if packet is not None:
                packet.packet.drop()
        if self._answer:
            raise OSError(self._answer, os.strerror(self._answer))

    def _configure(self, *values: tuple[int, bytes], flags: int = 0) -> None:
        self._send(_CONFIG, b"".join(attribute(kind, value) for kind, value in values), flags=flags)

    def _send(self, kind: int, content: bytes, *, flags: int = 0) -> None:
        self._messages.send(message(kind, flags, b"\0\0" + self.number.to_bytes(2) + content))


class _Messages(socket.socket):
    """The queue's socket, which pretends to be empty after one message, and has room for long messages."""

    wanted = False
    latest = b""

    def recv(self, _size: int, _flags: int = 0) -> bytes:
        """Return one whole message. Raise BlockingIOError if there is none, or if one was returned already."""
        if not self.wanted:
            raise BlockingIOError(errno.EAGAIN, "one is enough for now")
        self.latest = super().recv(_BUFFER, socket.MSG_DONTWAIT)
        self.wanted = False
        return self.latest
