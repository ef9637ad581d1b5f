"""The work that the kernel has left undone on a packet, as whoever forwards it must state it: struct virtio_net_hdr.

The kernel merges TCP segments that arrive in a row (GRO), and a sender on this machine hands out up to 64 KB at once
(TSO). The result is one packet whose checksum covers the pseudo header only. A packet socket with PACKET_VNET_HDR takes
such a packet with this header before it; the kernel or the card then cuts it into segments and completes their
checksums. One verdict and one call thus do for forty segments.

Sources: linux/virtio_net.h, packet(7), Virtual I/O Device (VIRTIO) 1.2 section 5.1.6.
"""

import struct
from typing import Final

from l2mode.core.packets import ETHERNET, Content, read_content, read_head
from l2mode.core.settings import Protocol

_HEADER: Final = struct.Struct("=BBHHHH")
"""Flags, kind of segmentation, length of all headers, length of a segment, start and offset of the checksum; lengths in
bytes."""
NOTHING_TO_DO: Final = bytes(_HEADER.size)

_NEEDS_CHECKSUM: Final = 1
_NO_SEGMENTATION: Final = 0
_TCP: Final = {4: 1, 6: 4}
"VIRTIO_NET_HDR_GSO_TCPV4 and _TCPV6."
_ECN: Final = 0x80
"Only the first of the segments carries CWR (RFC 3168 section 6.1.2)."
_CWR: Final = 0x80
_CHECKSUM_AT: Final = {Protocol.TCP: 16, Protocol.UDP: 6}


def work_left(head: bytes, *, length: int, partial: bool, merged: bool, mtu: int) -> bytes | None:
    """Return the header that states the work left on a frame; None if the header cannot express it.

    `head` is the first `packets.SIGHT` bytes of the frame, `length` the length of the whole frame. `partial` means that
    its checksum covers the pseudo header only, `merged` that it is many packets in one. Segments are made to fit `mtu`.
    Merged datagrams cannot be separated again, since their lengths are not known.
    """
    if not (partial or merged):
        return NOTHING_TO_DO
    read = _flow(head)
    if read is None or not partial:
        return None
    version, content = read
    protocol = content.protocol or Protocol.UDP
    start = content.transport_at
    if not merged:
        return _header(_NO_SEGMENTATION, start, 0, start, _CHECKSUM_AT[protocol])
    if protocol is not Protocol.TCP:
        return None
    headers = start + (head[start + 12] >> 4) * 4
    segment = mtu + ETHERNET - headers
    if segment <= 0:
        return None
    if length - headers <= segment:
        return _header(_NO_SEGMENTATION, headers, 0, start, _CHECKSUM_AT[protocol])
    kind = _TCP[version] | (_ECN if head[start + 13] & _CWR else 0)
    return _header(kind, headers, segment, start, _CHECKSUM_AT[protocol])


def _flow(frame_head: bytes) -> tuple[int, Content] | None:
    head = read_head(frame_head)
    if head is None:
        return None
    content = read_content(frame_head, head)
    # An error belongs to a flow as well, but has no TCP or UDP header of its own.
    return (head.version, content) if content.transport_at else None


def _header(kind: int, headers: int, segment: int, start: int, offset: int) -> bytes:
    return _HEADER.pack(_NEEDS_CHECKSUM, kind, headers, segment, start, offset)
