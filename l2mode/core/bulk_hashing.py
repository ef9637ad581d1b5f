"""The buckets of many clients at once, for a scan of all sockets: the hash of `hashing`, six times as fast per client.

Every input has a lane of 128 bits in one large integer: 64 bits hold the state of the hash, and 64 take the carry of an
addition and the bits that a rotation pushes out. One operation of the interpreter thus does one step for all inputs.
"""

import struct
from collections.abc import Sequence
from typing import Final

from l2mode.core.buckets import BUCKETS

_LANE_BYTES: Final = 16
_WORD_BYTES: Final = 8
_AT_ONCE: Final = 1024
"Inputs hashed together: about 1 ms of work, so that the interpreter's other threads get their turn."


def buckets_of(seed: bytes, inputs: Sequence[bytes]) -> list[int]:
    """Return the bucket of each input; all inputs have the same length. `hashing` documents what they consist of."""
    found: list[int] = []
    for start in range(0, len(inputs), _AT_ONCE):
        some = inputs[start : start + _AT_ONCE]
        found += [number % BUCKETS for number in _siphash13(seed, some)]
    return found


def _siphash13(key: bytes, inputs: Sequence[bytes]) -> tuple[int, ...]:
    count, size = len(inputs), len(inputs[0])
    ones = int.from_bytes((b"\1" + bytes(_LANE_BYTES - 1)) * count, "little")
    words = ones * ((1 << 64) - 1)
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v0, v1 = ones * (k0 ^ 0x736F6D6570736575), ones * (k1 ^ 0x646F72616E646F6D)
    v2, v3 = ones * (k0 ^ 0x6C7967656E657261), ones * (k1 ^ 0x7465646279746573)
    end = bytes(-(size + 1) % _WORD_BYTES) + bytes([size & 0xFF])
    padded = [data + end for data in inputs]
    for at in range(0, len(padded[0]), _WORD_BYTES):
        lanes = b"".join([data[at : at + _WORD_BYTES] + bytes(_LANE_BYTES - _WORD_BYTES) for data in padded])
        word = int.from_bytes(lanes, "little")
        v0, v1, v2, v3 = _round(v0, v1, v2, v3 ^ word, words)
        v0 ^= word
    v2 ^= ones * 0xFF
    for _ in range(3):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3, words)
    return struct.unpack("<" + "Q8x" * count, (v0 ^ v1 ^ v2 ^ v3).to_bytes(_LANE_BYTES * count, "little"))


def _round(v0: int, v1: int, v2: int, v3: int, words: int) -> tuple[int, int, int, int]:
    v0 = v0 + v1 & words
    v2 = v2 + v3 & words
    v1 = _rotated(v1, 13, words) ^ v0
    v3 = _rotated(v3, 16, words) ^ v2
    v0 = _rotated(v0, 32, words)
    v2 = v2 + v1 & words
    v0 = v0 + v3 & words
    v1 = _rotated(v1, 17, words) ^ v2
    v3 = _rotated(v3, 21, words) ^ v0
    v2 = _rotated(v2, 32, words)
    return v0, v1, v2, v3


def _rotated(lanes: int, bits: int, words: int) -> int:
    lanes <<= bits
    return (lanes | lanes >> 64) & words
