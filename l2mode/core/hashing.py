"""The bucket of a packet: a keyed hash of its client, so that no outsider can aim many clients at one server.

The hash is SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, with one round for each word
and three at the end), which Linux calls hsiphash on 64-bit machines. The packet filter in the kernel computes the same.
The lowest 12 bits choose the bucket. The input is the address, 4 bytes for IPv4 or 16 for IPv6, followed by 2 bytes of
whatever else counts, all in the byte order of the packet.
"""

from functools import lru_cache
from typing import Final

from l2mode.core.buckets import BUCKETS

SEED_BYTES: Final = 16

_WORD: Final = (1 << 64) - 1


def bucket_of_address(seed: bytes, address: bytes) -> int:
    """Return the bucket, 0 to 4095, of all packets of a client."""
    return siphash13(seed, address) % BUCKETS


def bucket_of_port(seed: bytes, address: bytes, port: int) -> int:
    """Return the bucket of a client's packets from one source port."""
    return siphash13(seed, address + port.to_bytes(2)) % BUCKETS


def bucket_of_datagram(seed: bytes, address: bytes, ip_id: int) -> int:
    """Return the bucket of one IPv4 datagram, by its identification field."""
    return siphash13(seed, address + ip_id.to_bytes(2)) % BUCKETS


# Cached because a client sends more than one packet: without the cache the filter in user space spends a quarter of its
# time here.
@lru_cache(maxsize=4096)
def siphash13(key: bytes, data: bytes) -> int:
    """Return the 64-bit hash of `data` under a key of 16 bytes."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v0, v1 = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D
    v2, v3 = k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    whole = len(data) & ~7
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, whole, 8)]
    words.append((len(data) & 0xFF) << 56 | int.from_bytes(data[whole:], "little"))
    # A round without a word equals a round with the word 0.
    for at, word in enumerate([*words, 0, 0, 0]):
        if at == len(words):
            v2 ^= 0xFF
        v3 ^= word
        v0 = (v0 + v1) & _WORD
        v2 = (v2 + v3) & _WORD
        v1 = (v1 << 13 & _WORD | v1 >> 51) ^ v0
        v3 = (v3 << 16 & _WORD | v3 >> 48) ^ v2
        v0 = ((v0 << 32 & _WORD | v0 >> 32) + v3) & _WORD
        v2 = (v2 + v1) & _WORD
        v1 = (v1 << 17 & _WORD | v1 >> 47) ^ v2
        v3 = (v3 << 21 & _WORD | v3 >> 43) ^ v0
        v2 = v2 << 32 & _WORD | v2 >> 32
        v0 ^= word
    return v0 ^ v1 ^ v2 ^ v3
