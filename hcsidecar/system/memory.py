"""Keeps a process's memory small, however many connections and passwords it has at the same time."""

from asyncio import sslproto
from contextlib import suppress
from typing import Final

TLS_BUFFER: Final = 32 * 1024
"Bytes for what is read on a TLS connection; a record has 16 KiB at most (RFC 8446, section 5.1)."
LARGE_BLOCK: Final = 256 * 1024
"Bytes of a block of memory that is given back to the system as soon as it is free."
_M_MMAP_THRESHOLD: Final = -3
"Of malloc.h; see mallopt(3)."


def keep_tls_buffers_small() -> None:
    """Call it before the first connection with TLS."""
    # asyncio takes 256 KiB for each by itself: 500 connections, which strangers may open, took 140 MiB.
    sslproto.SSLProtocol.max_size = TLS_BUFFER


def give_large_blocks_back() -> None:
    """Call it before the first large block is taken."""
    import ctypes  # noqa: PLC0415 - a quarter of a MiB, for those who need it

    # A password is verified with 19 MiB. By itself the C library keeps such a block after the first one, for each
    # thread. Where it is another one than that of GNU there is no such function.
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def give_free_memory_back() -> None:
    """Give the system what is free between blocks in use; it takes a few milliseconds."""
    import ctypes  # noqa: PLC0415 - see above

    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
