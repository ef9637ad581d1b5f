"""Hears from the kernel that something of its network has changed: links, addresses, filters; others read what."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

# <linux/rtnetlink.h>
_GROUPS: Final = 0x1 | 0x8 | 0x10 | 0x100
"RTMGRP_LINK, RTMGRP_TC, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."
_READS_AT_ONCE: Final = 64
_ROOM: Final = 1 << 16


class NetworkWatch:
    """Calls `changed` from the event loop after each change in this network namespace, or after several at once.

    Raises OSError if the kernel gives no socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._changed = changed
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE)
        try:
            self._socket.bind((0, _GROUPS))
        except OSError:
            self._socket.close()
            raise
        loop.add_reader(self._socket, self._read)

    def close(self) -> None:
        """Hear nothing more; safe to repeat."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()

    def _read(self) -> None:
        for _ in range(_READS_AT_ONCE):
            try:
                self._socket.recv(_ROOM)
            except BlockingIOError:
                break
            except OSError as error:
                # More than the socket holds: then something has changed for sure.
                if error.errno != errno.ENOBUFS:
                    raise
        self._changed()
