"""Checks that an address answers an ICMP echo request, sent from our own socket."""

import asyncio
import errno
import secrets
import socket
import sys
from typing import Final

from hcsidecar.application.checkers.reasons import describe
from hcsidecar.core.application.icmp import echo_request, is_reply
from hcsidecar.core.farmfile.farm_file import PingCheck
from hcsidecar.core.farmfile.values import is_ipv6

NOT_PERMITTED: Final = (
    "this process may not ping: give it the capability CAP_NET_RAW, "
    "or let its group do so with sysctl net.ipv4.ping_group_range"
)
"The reason if the system refuses a socket for ICMP."

_TOKEN_SIZE: Final = 16
_ROOM: Final = 2048
# <linux/in.h>, <linux/in6.h>, <linux/icmp.h>, <linux/icmpv6.h>
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_SOL_RAW: Final = 255
_ICMP_FILTER: Final = 1
_ALL_BUT_ECHO_REPLY: Final = (0xFFFFFFFE).to_bytes(4, sys.byteorder)


async def probe(check: PingCheck) -> str | None:
    """Send one request; return why there is no answer, or None. Has no time limit; may be cancelled."""
    ipv6 = is_ipv6(check.address)
    loop = asyncio.get_running_loop()
    token = secrets.token_bytes(_TOKEN_SIZE)
    try:
        with _open(ipv6=ipv6) as pinger:
            pinger.setblocking(False)  # noqa: FBT003 - the socket module takes it so
            # A connected socket gets what comes from this address, and ICMP errors from the way there.
            pinger.connect((check.address, 0))
            await loop.sock_sendall(pinger, echo_request(ipv6=ipv6, token=token))
            while not is_reply(await loop.sock_recv(pinger, _ROOM), ipv6=ipv6, token=token):
                pass
    except PermissionError:
        return NOT_PERMITTED
    except OSError as error:
        return describe(error)
    return None


def _open(*, ipv6: bool) -> socket.socket:
    """Return a socket for pings: one that ordinary users may have, otherwise a raw one."""
    family, protocol = (socket.AF_INET6, socket.IPPROTO_ICMPV6) if ipv6 else (socket.AF_INET, socket.IPPROTO_ICMP)
    try:
        opened = socket.socket(family, socket.SOCK_DGRAM, protocol)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT):
            raise
        opened = socket.socket(family, socket.SOCK_RAW, protocol)
    if sys.platform == "linux":
        # Otherwise the "unreachable" of a router would be lost, and the check would wait for its timeout.
        level, option = (socket.IPPROTO_IPV6, _IPV6_RECVERR) if ipv6 else (socket.IPPROTO_IP, _IP_RECVERR)
        opened.setsockopt(level, option, 1)
        if opened.type == socket.SOCK_RAW and not ipv6:
            # A raw socket would otherwise get all ICMP messages to this machine.
            opened.setsockopt(_SOL_RAW, _ICMP_FILTER, _ALL_BUT_ECHO_REPLY)
    return opened
