"""The netlink socket of pyroute2, with the errors of the operating system."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

__all__ = ["NetlinkError", "route"]


@contextmanager
def route() -> Iterator[Any]:
    """Open a socket to the network namespace of this thread; raises OSError where the kernel refuses something.

    Not for the thread of a running event loop: pyroute2 refuses that.
    """
    try:
        with IPRoute(ext_ack=True) as socket:
            yield socket
    except NetlinkError as error:
        # With the kernel's own words, where it has any beside the number.
        words = [os.strerror(error.code), *(text for text in error.args[1:] if text != os.strerror(error.code))]
        raise OSError(error.code, ": ".join(words)) from error
