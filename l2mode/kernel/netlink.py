"""Netlink: pyroute2's socket with the errors of the operating system, and a dump that pyroute2 is too slow for."""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from l2mode.kernel.descriptors import ensure_descriptors
from l2mode.kernel.errors import FilterError

__all__ = ["NetlinkError", "attributes", "dump", "refused_as", "route"]

# <linux/netlink.h>
_NLM_F_REQUEST_AND_DUMP: Final = 0x301
_NLMSG_ERROR: Final = 2
_NLMSG_DONE: Final = 3
_HEADER: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ROOM: Final = 1 << 16
_DESCRIPTORS: Final = 8
"Open files of a question by pyroute2, and a few more: other threads open some in the same moment."
_TYPE_BITS: Final = 0x3FFF
"An attribute's type without the flags for nested and in network byte order."


@contextmanager
def route() -> Iterator[Any]:
    """Open a socket to the network namespace of this thread; raises OSError where the kernel refuses something.

    Not for the thread of a running event loop: pyroute2 refuses that.
    """
    ensure_descriptors(_DESCRIPTORS)
    try:
        with IPRoute(ext_ack=True) as opened:
            yield opened
    except NetlinkError as error:
        # With the kernel's own words, where it has any beside the number.
        words = [os.strerror(error.code), *(text for text in error.args[1:] if text != os.strerror(error.code))]
        raise OSError(error.code, ": ".join(words)) from error


@contextmanager
def refused_as(problem: str) -> Iterator[None]:
    """Turn what the kernel refuses into a FilterError: an interface may go away between two questions about it."""
    try:
        yield
    except OSError as error:
        permission = "run with the capability CAP_NET_ADMIN"
        remedy = (
            permission if error.errno == errno.EPERM else "see the kernel's log; it is tried again every few seconds"
        )
        raise FilterError(f"{problem}: {error.strerror or error}", remedy) from error


def dump(kind: int, question: bytes) -> Iterator[bytes]:
    """Ask for all of something (RTM_GETADDR and the like) and give the answers without their headers.

    A machine with many containers has hundreds of addresses, and is asked every few seconds. Raises OSError.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(_HEADER.pack(_HEADER.size + len(question), kind, _NLM_F_REQUEST_AND_DUMP, 1, 0) + question)
        while True:
            received = netlink.recv(_ROOM)
            at = 0
            while at < len(received):
                length, answer, _, _, _ = _HEADER.unpack_from(received, at)
                if answer == _NLMSG_DONE:
                    return
                if answer == _NLMSG_ERROR:
                    (code,) = struct.unpack_from("=i", received, at + _HEADER.size)
                    raise OSError(-code, os.strerror(-code))
                yield received[at + _HEADER.size : at + length]
                at += length + 3 & ~3


def attributes(message: bytes, at: int) -> dict[int, bytes]:
    """Give the attributes of an answer, which begin there, by number."""
    found = {}
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            break
        found[kind & _TYPE_BITS] = message[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
    return found
