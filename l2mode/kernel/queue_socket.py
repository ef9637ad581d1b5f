"""A socket that packets wait at for a verdict: netfilter queues over netlink (linux/netfilter/nfnetlink_queue.h).

A queue hands packets over as the kernel has them, many in one (NFQA_CFG_F_GSO), or parted and finished. The kernel
keeps each until its verdict; what comes while a queue or the socket is full is dropped.
"""

import errno
import os
import socket
import struct
from typing import Final, NamedTuple

LONGEST: Final = 0xFFFF - 4
"Bytes of a packet that the kernel hands over at most: what an attribute has room for."

_NETLINK_NETFILTER: Final = 12
_SOL_NETLINK: Final = 270
_NETLINK_NO_ENOBUFS: Final = 5
_SO_RCVBUFFORCE: Final = 33

# linux/netlink.h
_NLM_F_REQUEST: Final = 1
_NLM_F_ACK: Final = 4
_NLMSG_ERROR: Final = 2
_KIND_OF_ATTRIBUTE: Final = 0x3FFF

# linux/netfilter/nfnetlink_queue.h, of the subsystem 3
_PACKET: Final = 0x300
_VERDICT: Final = 0x301
_CONFIG: Final = 0x302
_A_PACKET_HEADER: Final = 1
_A_VERDICT_HEADER: Final = 2
_A_TIMESTAMP: Final = 4
_A_SOURCE: Final = 9
_A_PAYLOAD: Final = 10
_A_WHOLE_LENGTH: Final = 13
_A_STATE: Final = 14
_PARTIAL_CHECKSUM: Final = 1
_MERGED: Final = 2
_C_COMMAND: Final = 1
_C_PARAMETERS: Final = 2
_C_LENGTH: Final = 3
_C_MASK: Final = 4
_C_FLAGS: Final = 5
_BIND: Final = 1
_COPY_PACKET: Final = 2
_F_GSO: Final = 4

# linux/netfilter.h
_DROP: Final = 0
_ACCEPT: Final = 1
_QUEUE: Final = 3
"With the number of the queue in the upper 16 bits."

_HEADER: Final = struct.Struct("=IHHII")
"struct nlmsghdr: length, type, flags, sequence, port."
_ERROR: Final = struct.Struct("=i")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ATTRIBUTES_AT: Final = _HEADER.size + 4
"Behind struct nfgenmsg: family, version, and the number of the queue."
_TIMESTAMP: Final = struct.Struct("!QQ")
"Seconds and microseconds."
_NO_TIME: Final = bytes(_TIMESTAMP.size)
_MAC_AT: Final = 4
_MAC_END: Final = 10
_NO_MAC: Final = bytes(6)
_PATIENCE: Final = 5.0
"Seconds for the kernel's answer, which comes at once."
_BUFFER: Final = (1 << 16) + 4096
_SOCKET_BYTES: Final = 4 << 20
"Room for all that waits, with the kernel's overhead: sixty merged packets, or a thousand that fit a wire."


class Waiting(NamedTuple):
    """A packet that waits for its verdict. `payload` holds until the next one is received."""

    queue: int
    number: bytes
    came: float
    "Seconds of the wall clock; 0 when the kernel has not noted it."
    source: bytes
    "The MAC that it came from; zeros where the interface has none."
    ethertype: bytes
    payload: memoryview
    "From the IP header on."
    length: int
    "Of the whole packet, of which the payload may be the beginning."
    partial: bool
    "Of its checksum only the pseudo header's part is there."
    merged: bool
    "Many in one."


class QueueSocket:
    """Reads queues of the network namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        self._socket.bind((0, 0))
        # A full socket is to lose what does not fit, and not all that comes until it is empty.
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_NO_ENOBUFS, 1)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _SOCKET_BYTES)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BYTES)
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)

    def fileno(self) -> int:
        """Give the descriptor, to be waited for."""
        return self._socket.fileno()

    def close(self) -> None:
        """Read no more; the kernel drops what waits."""
        self._socket.close()

    def bind(self, queue: int, *, copied: int, merged: bool, length: int) -> None:
        """Read a queue: this many bytes of each packet, merged ones as they are or parted; so many may wait.

        OSError if somebody else reads it, or this is not permitted.
        """
        self._socket.settimeout(_PATIENCE)
        flags = _F_GSO if merged else 0
        self._configure(
            queue,
            # In one message: no packet comes before its size is told.
            (_C_COMMAND, struct.pack("!BxH", _BIND, 0)),
            (_C_PARAMETERS, struct.pack("!IB", min(copied, LONGEST), _COPY_PACKET)),
            (_C_LENGTH, struct.pack("!I", length)),
            (_C_MASK, struct.pack("!I", _F_GSO)),
            (_C_FLAGS, struct.pack("!I", flags)),
            flags=_NLM_F_REQUEST | _NLM_F_ACK,
        )
        while (answer := self._receive()) is not None:
            if isinstance(answer, Waiting):
                self.drop(answer)
                continue
            if answer:
                raise OSError(answer, os.strerror(answer))
            break
        self._socket.settimeout(0)

    def set_length(self, queue: int, length: int) -> None:
        """Let so many packets wait."""
        self._configure(queue, (_C_LENGTH, struct.pack("!I", length)), flags=_NLM_F_REQUEST)

    def receive(self) -> Waiting | None:
        """Give the next packet, or None when there is none."""
        while True:
            received = self._receive()
            # An error is about a verdict on a packet that the kernel has dropped meanwhile, with its interface.
            if received is None or isinstance(received, Waiting):
                return received

    def accept(self, packet: Waiting) -> None:
        """Let the stack have it, as the kernel has it."""
        self._judge(packet, _ACCEPT)

    def drop(self, packet: Waiting) -> None:
        """Drop it."""
        self._judge(packet, _DROP)

    def hand_on(self, packet: Waiting, queue: int) -> None:
        """Let it wait in another queue."""
        self._judge(packet, queue << 16 | _QUEUE)

    def _judge(self, packet: Waiting, verdict: int) -> None:
        value = verdict.to_bytes(4) + packet.number
        self._send(_VERDICT, _NLM_F_REQUEST, packet.queue, _attribute(_A_VERDICT_HEADER, value))

    def _configure(self, queue: int, *attributes: tuple[int, bytes], flags: int) -> None:
        self._send(_CONFIG, flags, queue, b"".join(_attribute(kind, value) for kind, value in attributes))

    def _send(self, kind: int, flags: int, queue: int, attributes: bytes) -> None:
        header = _HEADER.pack(_ATTRIBUTES_AT + len(attributes), kind, flags, 0, 0)
        self._socket.send(header + b"\0\0" + queue.to_bytes(2) + attributes)

    def _receive(self) -> Waiting | int | None:
        """Give the next packet, None when there is none, or the error number of an answer of the kernel, 0 for none."""
        try:
            size = self._socket.recv_into(self._buffer)
        except BlockingIOError:
            return None
        buffer, view = self._buffer, self._view
        _, kind, *_ = _HEADER.unpack_from(buffer)
        if kind == _NLMSG_ERROR:
            return -int(_ERROR.unpack_from(buffer, _HEADER.size)[0])
        if kind != _PACKET:
            return errno.EPROTO
        parts: dict[int, memoryview] = {}
        at = _ATTRIBUTES_AT
        while at < size:
            length, kind = _ATTRIBUTE.unpack_from(buffer, at)
            parts[kind & _KIND_OF_ATTRIBUTE] = view[at + _ATTRIBUTE.size : at + length]
            at += (length + 3) & ~3
        seconds, microseconds = _TIMESTAMP.unpack(parts.get(_A_TIMESTAMP, _NO_TIME))
        payload = parts.get(_A_PAYLOAD, view[:0])
        state = int.from_bytes(parts.get(_A_STATE, b""))
        return Waiting(
            queue=int.from_bytes(view[_ATTRIBUTES_AT - 2 : _ATTRIBUTES_AT]),
            number=bytes(parts[_A_PACKET_HEADER][:4]),
            came=seconds + microseconds / 1e6,
            source=bytes(parts[_A_SOURCE][_MAC_AT:_MAC_END]) if _A_SOURCE in parts else _NO_MAC,
            ethertype=bytes(parts[_A_PACKET_HEADER][4:6]),
            payload=payload,
            length=int.from_bytes(parts.get(_A_WHOLE_LENGTH, b"")) or len(payload),
            partial=bool(state & _PARTIAL_CHECKSUM),
            merged=bool(state & _MERGED),
        )


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + bytes(-len(value) % 4)
