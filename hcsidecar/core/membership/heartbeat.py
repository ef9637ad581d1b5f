"""The heartbeat: what a node tells the others, and its wire form before sealing.

The wire form is MessagePack, and zlib (RFC 1950) around it where a heartbeat is large: those of a large farm name all
nodes twice. Bytes from the network are data: `decode` answers None for whatever is not a heartbeat within the limits.
"""

import zlib
from typing import Annotated, Final

import msgspec

PROTOCOL_VERSION: Final = 2
"Two nodes share buckets only when they speak the same version: it is part of the settings digest."

MAX_NODES: Final = 64
MAX_SHARES: Final = 64
MAX_POWER: Final = 1_000_000
MAX_BUCKET_BYTES: Final = 512
"A bit for each of 4096 buckets."

NodeName = Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
Boot = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Counter = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Microseconds = Annotated[int, msgspec.Meta(ge=0, le=3_600_000_000)]
Power = Annotated[int, msgspec.Meta(ge=0, le=MAX_POWER)]
PowerList = Annotated[tuple[Power, ...], msgspec.Meta(min_length=1, max_length=MAX_SHARES)]

View = tuple[tuple[str, tuple[int, ...]], ...]
"The members that take shares, each with its powers (one per share group), sorted by name; () = out."


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """One node's word about itself and whom it hears. Every field is what the sender knew when it sent."""

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
    "Why the node is not Ready; empty when it is."
    wants: bool = False
    "Would take a share: listened, Ready, not draining."
    powers: PowerList = (1,)
    settings: Annotated[bytes, msgspec.Meta(max_length=32)] = b""
    "Digest of what must be equal on nodes that share buckets."
    view: Annotated[
        tuple[tuple[NodeName, PowerList], ...],
        msgspec.Meta(max_length=MAX_NODES),
    ] = ()
    holding: bool = False
    "Some bucket is open for new connections here."
    dirty: bool = False
    "Has connections in buckets that are not its own."
    dirty_buckets: Annotated[bytes, msgspec.Meta(max_length=MAX_BUCKET_BYTES)] = b""
    "In which ones at most, over all share groups: bit b of the little-endian number for bucket b; empty: in any."
    ask: bool = False
    "Waits for an answer: tell me at once what you have heard of me."
    leave: bool = False
    "The node's last words: its filter is closed."
    mac: Annotated[bytes, msgspec.Meta(max_length=6)] = b""
    counters: Annotated[tuple[Counter, ...], msgspec.Meta(max_length=8)] = ()
    heard_boots: Annotated[
        tuple[tuple[NodeName, Boot], ...],
        msgspec.Meta(max_length=MAX_NODES),
    ] = ()
    "Each member heard within lost_after, with its boot. Apart from the sequences: it seldom changes."
    heard_seqs: Annotated[tuple[Sequence, ...], msgspec.Meta(max_length=MAX_NODES)] = ()
    "The highest sequence processed of each of these, in the same order."
    unmet: Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=64)] = ()
    "The application's needs that are not met: names of `pre` checks that fail."
    timing: tuple[Microseconds, Microseconds] = (0, 0)
    "Pulse and lost_after of the sender's farm file."
    slowest: tuple[Microseconds, Microseconds] = (0, 0)
    "The slowest timing of the sender and of those whom it hears."
    guarding: bool = False
    "A node that it has heard has died, and may still hold buckets: who has not heard that one must wait as well."
    refuses: Annotated[tuple[tuple[NodeName, Boot], ...], msgspec.Meta(max_length=MAX_NODES)] = ()
    "Nodes that speak with an older boot than the one given here, which the sender goes by, and are not heard for it."


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Heartbeat)


_COMPRESSED_FROM: Final = 1000
"Bytes: what is shorter fits into a packet as it is."
_ZLIB: Final = b"\x78"
"The first byte of what zlib has compressed; in MessagePack it is a number, and never a heartbeat."
_LONGEST: Final = 65_536
"Bytes of a heartbeat at the most, however far it is blown up."


def encode(heartbeat: Heartbeat) -> bytes:
    """Give the plaintext of a datagram."""
    plaintext = _encoder.encode(heartbeat)
    return plaintext if len(plaintext) < _COMPRESSED_FROM else zlib.compress(plaintext)


def decode(plaintext: bytes) -> Heartbeat | None:
    """Read a plaintext; None for anything that is not a heartbeat within its limits."""
    try:
        heartbeat = _decoder.decode(_inflated(plaintext) if plaintext.startswith(_ZLIB) else plaintext)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, zlib.error):
        return None
    return heartbeat if len(heartbeat.heard_boots) == len(heartbeat.heard_seqs) else None


def _inflated(plaintext: bytes) -> bytes:
    """Undo the compression; raises zlib.error for what is none, or too long."""
    stream = zlib.decompressobj()
    inflated = stream.decompress(plaintext, _LONGEST)
    if not stream.eof or stream.unused_data:
        raise zlib.error("cut, too long, or something follows")
    return inflated


def is_within(some: bytes, others: bytes) -> bool:
    """True when all buckets of one heartbeat's `dirty_buckets` are among those of another; empty means all."""
    if not some or not others:
        return not others
    return not int.from_bytes(some, "little") & ~int.from_bytes(others, "little")
