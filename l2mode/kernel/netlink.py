"""Netlink: pyroute2's socket with the errors of the operating system, and a dump for which pyroute2 is too slow."""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from l2mode.kernel.descriptors import ensure_descriptors
from l2mode.kernel.errors import FilterError
from l2mode.kernel.netlink_messages import DONE, DUMP, ERROR, HEADER, RECEIVE_SIZE, error_number, message, messages

__all__ = ["NetlinkError", "dump", "refused_as", "route"]

_DESCRIPTORS: Final = 8
"Files that a question by pyroute2 opens, and a few more, since other threads open some at the same time."


@contextmanager
def route() -> Iterator[Any]:
    """Open a socket to the network namespace of this thread. Raise OSError if the kernel refuses something.

    Must not be used on the thread of a running event loop: pyroute2 refuses that.
    """
    ensure_descriptors(_DESCRIPTORS)
    try:
        with IPRoute(ext_ack=True) as opened:
            yield opened
    except NetlinkError as error:
        # With the kernel's own words, if it sends any beside the number.
        words = [os.strerror(error.code), *(text for text in error.args[1:] if text != os.strerror(error.code))]
        raise OSError(error.code, ": ".join(words)) from error


@contextmanager
def refused_as(problem: str) -> Iterator[None]:
    """Turn an OSError into a FilterError: an interface may go away between two questions about it."""
    try:
        yield
    except OSError as error:
        permission = "run with the capability CAP_NET_ADMIN"
        remedy = (
            permission if error.errno == errno.EPERM else "see the kernel's log; it is tried again every few seconds"
        )
        raise FilterError(f"{problem}: {error.strerror or error}", remedy) from error


def dump(kind: int, question: bytes) -> Iterator[bytes]:
    """Request all objects of a kind (RTM_GETADDR and the like). Yield the answers without their headers.

    A machine with many containers has hundreds of addresses, and is asked every few seconds. Raise OSError if refused.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(message(kind, DUMP, question))
        while True:
            received = netlink.recv(RECEIVE_SIZE)
            for answer, at, end in messages(received):
                if answer == DONE:
                    return
                if answer == ERROR:
                    code = error_number(received, at)
                    raise OSError(code, os.strerror(code))
                yield received[at + HEADER.size : end]
