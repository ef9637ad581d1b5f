"""The heartbeat: what a node announces to the others, and its wire form before sealing.

`hcsidecar/net/sealing.py` puts a header before it and encrypts it. The wire form is MessagePack: an array of the fields
of `Heartbeat`, in the order in which they are declared. Large heartbeats are compressed with zlib (RFC 1950), because
those of a large farm name all nodes twice. Bytes from the network are data: `decode` returns None for anything that is
not a heartbeat within the limits.
"""

import zlib
from typing import Annotated, Final

import msgspec

from hcsidecar.core.membership.revision_state import RevisionState

PROTOCOL_VERSION: Final = 2
"Two nodes share buckets only if they speak the same version: it is part of the settings digest."

MAX_NODES: Final = 64
MAX_SHARES: Final = 64
MAX_POWER: Final = 1_000_000
MAX_BUCKET_BYTES: Final = 512
"One bit for each of 4096 buckets."

NodeName = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
Boot = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Counter = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=3_600_000_000)]
Power = Annotated[int, msgspec.Meta(ge=0, le=MAX_POWER)]
PowerList = Annotated[tuple[Power, ...], msgspec.Meta(min_length=1, max_length=MAX_SHARES)]

View = tuple[tuple[str, tuple[int, ...]], ...]
"The members that take shares, each with its powers (one per share group), sorted by name; (): out of the view."


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One node's statement about itself and the nodes that it hears, as of the time of sending."""

    farm: NodeName
    node: NodeName
    boot: Boot
    "Grows with every start of the node; a lower one is from the past."
    seq: Sequence
    "Grows with every heartbeat of this boot."
    role: Annotated[str, msgspec.Meta(max_length=16)] = "STOP"
    status: Annotated[str, msgspec.Meta(max_length=16)] = "NotReady"
    draining: bool = False
    reason: Annotated[str, msgspec.Meta(max_length=200)] = ""
    "Why the node is not Ready; empty if it is."
    wants: bool = False
    "The node would take a share: it has listened, is Ready and does not drain."
    powers: PowerList = (1,)
    settings_digest: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    "Digest of what must be equal on nodes that share buckets."
    view: Annotated[
        tuple[tuple[NodeName, PowerList], ...],
        msgspec.Meta(max_length=MAX_NODES),
    ] = ()
    holding: bool = False
    "The node takes new connections of some bucket."
    dirty: bool = False
    "It has connections in buckets that are not its own."
    dirty_buckets: Annotated[bytes, msgspec.Meta(max_length=MAX_BUCKET_BYTES)] = b""
    "These buckets at most, over all share groups: bit b of the little-endian number stands for bucket b; empty: any."
    ask: bool = False
    "The node waits for an answer: tell it at once what you have heard of it."
    leave: bool = False
    "The last announcement of the node: its filter is closed."
    mac: Annotated[bytes, msgspec.Meta(max_length=6)] = b""
    "Of the sender's interface in the virtual IPs' network; empty without layer-2 mode."
    counters: Annotated[tuple[Counter, ...], msgspec.Meta(max_length=8)] = ()
    "Packets to the virtual IPs that the sender has seen, and when it counted them, in ms; empty without layer-2 mode."
    heard_boots: Annotated[
        tuple[tuple[NodeName, Boot], ...],
        msgspec.Meta(max_length=MAX_NODES),
    ] = ()
    "Each node heard within lost_after, with its boot. Kept apart from the sequences because it seldom changes."
    heard_seqs: Annotated[tuple[Sequence, ...], msgspec.Meta(max_length=MAX_NODES)] = ()
    "The highest sequence processed of each of these, in the same order."
    unmet: Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=64)] = ()
    "The application's needs that are not met: names of `pre` checks that fail."
    timing: tuple[Microseconds, Microseconds] = (0, 0)
    "Pulse and lost_after of the sender's farm file."
    slowest: tuple[Microseconds, Microseconds] = (0, 0)
    "The slowest timing of the sender and of the nodes that it hears."
    guarding: bool = False
    "A node that the sender has heard is dead and may still hold buckets; nodes that never heard it must wait as well."
    refuses: Annotated[tuple[tuple[NodeName, Boot], ...], msgspec.Meta(max_length=MAX_NODES)] = ()
    "Nodes that the sender refuses, because it has heard a higher boot of theirs, each with that higher boot."
    revisions: RevisionState = RevisionState()
    "The revisions of the settings that the sender goes by and tries."


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Heartbeat)


_COMPRESSED_FROM: Final = 1000
"In bytes; a shorter heartbeat fits into a packet as it is."
_ZLIB: Final = b"\x78"
"The first byte of zlib's output. In MessagePack it is a number, with which no heartbeat begins."
_LONGEST: Final = 65_536
"The most bytes of a heartbeat after decompression."


def encode(heartbeat: Heartbeat) -> bytes:
    """Return the plaintext of a datagram."""
    plaintext = _encoder.encode(heartbeat)
    return plaintext if len(plaintext) < _COMPRESSED_FROM else zlib.compress(plaintext)


def decode(plaintext: bytes) -> Heartbeat | None:
    """Return the heartbeat in a plaintext; None for anything that is not a heartbeat within its limits."""
    try:
        heartbeat = _decoder.decode(_inflated(plaintext) if plaintext.startswith(_ZLIB) else plaintext)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, zlib.error):
        return None
    return heartbeat if len(heartbeat.heard_boots) == len(heartbeat.heard_seqs) else None


def _inflated(plaintext: bytes) -> bytes:
    """Return the decompressed bytes. Raise zlib.error if they are not compressed, or too many."""
    stream = zlib.decompressobj()
    inflated = stream.decompress(plaintext, _LONGEST)
    if not stream.eof or stream.unused_data:
        raise zlib.error("cut, too long, or something follows")
    return inflated


def is_within(some: bytes, others: bytes) -> bool:
    """Return whether one `dirty_buckets` of a heartbeat is a subset of another; empty means all buckets."""
    if not some or not others:
        return not others
    return not int.from_bytes(some, "little") & ~int.from_bytes(others, "little")
