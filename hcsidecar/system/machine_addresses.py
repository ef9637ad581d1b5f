"""Which addresses this machine has, found by binding a UDP port on each for a moment, which is the cheapest way."""

import errno
import socket


def is_lost(address: str) -> bool:
    """Return whether the kernel says that this machine does not have an address; False also if it gives no answer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False
