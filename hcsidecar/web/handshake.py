"""Begins TLS on a connection whose first bytes have been read already, since a PROXY prefix comes before it."""

import asyncio
import ssl


async def shake_hands(
    transport: asyncio.Transport,
    protocol: asyncio.Protocol,
    tls: ssl.SSLContext,
    *,
    received: bytes,
    handshake_timeout: float,
    shutdown_timeout: float,
) -> asyncio.Transport | None:
    """Return the transport that speaks TLS for the protocol, or None if the handshake fails or takes too long.

    `received` is what has been read of TLS so far. Reading must be paused, so that no more of it comes meanwhile.
    """
    loop = asyncio.get_running_loop()
    # This runs after start_tls has put TLS in the protocol's place, and before the transport reads again.
    loop.call_soon(_give_back, transport, received)
    try:
        return await loop.start_tls(
            transport,
            protocol,
            tls,
            server_side=True,
            ssl_handshake_timeout=handshake_timeout,
            ssl_shutdown_timeout=shutdown_timeout,
        )
    except OSError:  # TLS errors, lost connections and time-outs are all of this kind
        return None


def _give_back(transport: asyncio.Transport, data: bytes) -> None:
    protocol = transport.get_protocol()
    while data and isinstance(protocol, asyncio.BufferedProtocol):
        room = memoryview(protocol.get_buffer(len(data)))
        size = min(len(room), len(data))
        room[:size] = data[:size]
        protocol.buffer_updated(size)
        data = data[size:]
