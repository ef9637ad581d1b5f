"""Which addresses this machine has, found by binding a UDP port on each for a moment, which is the cheapest way."""

import errno
import ipaddress
import os
import socket
import struct
from pathlib import Path
from typing import Final

_SIOCGIFADDR: Final = 0x8915
"Asks for the IPv4 address of an interface (netdevice(7))."
_GLOBAL: Final = "00"
"The scope of an address that others can reach, in /proc/net/if_inet6."


def is_lost(address: str) -> bool:
    """Return whether the kernel says that this machine does not have an address; False also if it gives no answer."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno == errno.EADDRNOTAVAIL
    return False


def address_of(interface: str) -> str:
    """Return the IP address of a network interface: the first one of IPv4, else a global one of IPv6.

    Raise OSError, which says why, if there is none.
    """
    try:
        import fcntl  # noqa: PLC0415 - not on Windows
    except ImportError:
        raise OSError(errno.ENOTSUP, "its address cannot be found out on this system: use --address") from None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("256s", os.fsencode(interface)[:15])
        try:
            return socket.inet_ntoa(fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)[20:24])
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL:
                raise OSError(error.errno, "there is no such interface") from None
    with Path("/proc/net/if_inet6").open() as table:
        for line in table:
            digits, _index, _length, scope, _flags, name = line.split()
            if name == interface and scope == _GLOBAL:
                return str(ipaddress.IPv6Address(int(digits, 16)))
    raise OSError(errno.EADDRNOTAVAIL, "it has no IP address")
