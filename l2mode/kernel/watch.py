"""Receives the kernel's notices that links, addresses or filters have changed; other modules read the changes."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

# <linux/netlink.h>, <linux/rtnetlink.h> and <linux/netfilter/nfnetlink.h>
_NETLINK_NETFILTER: Final = 12
_ROUTE_GROUPS: Final = 0x1 | 0x8 | 0x10 | 0x100
"RTMGRP_LINK, RTMGRP_TC, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR."
_RULES_GROUP: Final = 1 << 6
"NFNLGRP_NFTABLES: the rules of nft, and of the iptables that is based on it."
_READS_AT_ONCE: Final = 64
_ROOM: Final = 1 << 16


class NetworkWatch:
    """Calls `changed` from the event loop after each change in this network namespace, or once after several.

    `rules` is for a node with nft rules: the kernel loads a module to report these. Raise OSError if the kernel gives
    no socket.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None], *, rules: bool = False) -> None:
        self._loop = loop
        self._changed = changed
        self._sockets: list[socket.socket] = []
        try:
            self._open(socket.NETLINK_ROUTE, _ROUTE_GROUPS)
            if rules:
                self._open(_NETLINK_NETFILTER, _RULES_GROUP)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Stop listening; safe to repeat."""
        for opened in self._sockets:
            self._loop.remove_reader(opened)
            opened.close()
        self._sockets.clear()

    def _open(self, protocol: int, groups: int) -> None:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        try:
            opened.bind((0, groups))
        except OSError:
            opened.close()
            raise
        self._sockets.append(opened)
        self._loop.add_reader(opened, self._read, opened)

    def _read(self, opened: socket.socket) -> None:
        for _ in range(_READS_AT_ONCE):
            try:
                opened.recv(_ROOM)
            except BlockingIOError:
                break
            except OSError as error:
                # More notices than the socket holds: then something has certainly changed.
                if error.errno != errno.ENOBUFS:
                    raise
        self._changed()
