"""Checks that a TCP port accepts connections."""

import asyncio
import socket

from hcsidecar.application.checkers.reasons import describe
from hcsidecar.core.farmfile.farm_file import TcpCheck
from hcsidecar.core.farmfile.values import is_ipv6


async def probe(check: TcpCheck) -> str | None:
    """Connect and close; return why that failed, or None. Has no time limit; may be cancelled."""
    try:
        with socket.socket(socket.AF_INET6 if is_ipv6(check.address) else socket.AF_INET) as connection:
            connection.setblocking(False)  # noqa: FBT003 - the socket module takes it so
            await asyncio.get_running_loop().sock_connect(connection, (check.address, check.port))
            # If nobody listens, the kernel may give the probe this very port, and it connects to itself (RFC 793, 3.4).
            if connection.getsockname() == connection.getpeername():
                return "connection refused"
    except OSError as error:
        return describe(error)
    return None
