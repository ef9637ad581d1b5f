"""The framing of netlink (netlink(7)): messages and their attributes, as bytes.

pyroute2 can do this too, but makes an object of each message, which is too slow for long tables and frequent reads.
"""

import struct
from collections.abc import Collection, Iterator
from typing import Final

# <linux/netlink.h>
REQUEST: Final = 1
ACKNOWLEDGE: Final = 4
DUMP: Final = 0x300
ERROR: Final = 2
DONE: Final = 3
NESTED: Final = 0x8000
HEADER: Final = struct.Struct("=IHHII")
"struct nlmsghdr: length, type, flags, sequence, port."
RECEIVE_SIZE: Final = 1 << 16
"In bytes; the kernel answers in pieces of at most 32 KB."
_ATTRIBUTE: Final = struct.Struct("=HH")
"struct nlattr: length, type."
_ERROR_NUMBER: Final = struct.Struct("=i")
_TYPE_BITS: Final = 0x3FFF
"Masks the flags for nested attributes and network byte order out of an attribute's type."


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Return a request of this type."""
    return HEADER.pack(HEADER.size + len(body), kind, REQUEST | flags, 1, 0) + body


def attribute(kind: int, content: bytes) -> bytes:
    """Return an attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), kind) + content + bytes(-len(content) % 4)


def messages(received: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the type of each message, and the offsets of its header and of its end."""
    at = 0
    while at < len(received):
        length, kind, _, _, _ = HEADER.unpack_from(received, at)
        yield kind, at, at + length
        at += length + 3 & ~3


def error_number(received: bytes, at: int = 0) -> int:
    """Return the errno(3) of the answer of type ERROR or DONE that begins at `at`; 0 means success."""
    (code,) = _ERROR_NUMBER.unpack_from(received, at + HEADER.size)
    return -int(code)


def attributes(content: bytes, at: int, *, wanted: Collection[int] | None = None) -> dict[int, bytes]:
    """Return the attributes that begin at `at` in an answer, by type; only the `wanted` types, if given.

    What is not wanted is not copied.
    """
    found = {}
    while at + _ATTRIBUTE.size <= len(content):
        length, kind = _ATTRIBUTE.unpack_from(content, at)
        if length < _ATTRIBUTE.size:
            break
        if wanted is None or kind & _TYPE_BITS in wanted:
            found[kind & _TYPE_BITS] = content[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found
