"""Which addresses this machine has, by taking a UDP port on each for a moment: no other way is so cheap."""

import errno
import socket


def is_lost(address: str) -> bool:
    """Tell whether the kernel says that an address is none of this machine's; False too when it says nothing now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False
