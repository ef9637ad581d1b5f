"""Sends and receives the datagrams of one node: one UDP socket per network of the farm file."""

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from hcsidecar.core.passing_errors import why_not_bound

_LARGEST = 65_535
_BATCH = 64
"Datagrams read in a row before other work gets its turn."


class HeartbeatSocketError(Exception):
    """A heartbeat socket cannot be opened; the text names address and port.

    `passing` is True if that may end by itself: daemons start before networks do.
    """

    def __init__(self, address: str, port: int, error: OSError) -> None:
        reason, self.passing = why_not_bound(error)
        super().__init__(f"heartbeats cannot use UDP {address} port {port}: {reason}")


class Datagrams:
    """UDP sockets on every network of one node.

    `own` maps each network to this node's address on it, `others` each other node to its addresses by network. Every
    datagram that arrives is passed to `receive`, which must not raise.
    """

    def __init__(
        self,
        *,
        own: Mapping[str, str],
        others: Mapping[str, Mapping[str, str]],
        port: int,
        receive: Callable[[bytes], None],
    ) -> None:
        self._own = own
        self._port = port
        self._receive = receive
        self._sockets: dict[str, socket.socket] = {}
        self.set_others(others)
        self._buffer = memoryview(bytearray(_LARGEST))
        self.sent = self.received = 0
        self.failures: dict[str, int] = {}
        "Datagrams that the kernel has refused to send, by its reason."

    def set_others(self, others: Mapping[str, Mapping[str, str]]) -> None:
        """Send to these nodes, at these addresses by network, from now on. Our own addresses stay."""
        self._routes = {
            node: [(network, (address, self._port)) for network, address in addresses.items() if network in self._own]
            for node, addresses in others.items()
        }

    async def open(self) -> None:
        """Bind all sockets. Raise HeartbeatSocketError if one cannot be bound; then none is open."""
        loop = asyncio.get_running_loop()
        for network, address in self._own.items():
            try:
                self._sockets[network] = self._bind(address)
            except OSError as error:
                self.close()
                raise HeartbeatSocketError(address, self._port, error) from error
        for bound in self._sockets.values():
            loop.add_reader(bound, self._read, bound)

    def _bind(self, address: str) -> socket.socket:
        destination = (address, self._port)
        bound = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            bound.setblocking(False)  # noqa: FBT003 - the socket module has no keyword for it
            bound.bind(destination)
        except OSError:
            bound.close()
            raise
        return bound

    def close(self) -> None:
        """Close all sockets; safe to repeat."""
        for bound in self._sockets.values():
            with suppress(ValueError, RuntimeError):
                asyncio.get_running_loop().remove_reader(bound)
            bound.close()
        self._sockets.clear()

    def send(self, to: str, datagram: bytes) -> None:
        """Send a datagram to a node on every network; failures are counted, and the next heartbeat tries again."""
        for network, destination in self._routes.get(to, ()):
            bound = self._sockets.get(network)
            if bound is None:
                continue
            try:
                bound.sendto(datagram, destination)
            except OSError as error:
                reason = errno.errorcode.get(error.errno or 0, "unknown")
                self.failures[reason] = self.failures.get(reason, 0) + 1
            else:
                self.sent += 1

    def discard(self) -> int:
        """Discard the datagrams that are queued. Return how many there were."""
        count = 0
        for bound in self._sockets.values():
            # Bounded, because a flood may fill the queue as fast as it is emptied.
            for _ in range(10_000):
                try:
                    bound.recv_into(self._buffer)
                except OSError:
                    break
                count += 1
        return count

    def _read(self, bound: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                size = bound.recv_into(self._buffer)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # An ICMP error for an earlier datagram: the other node's port is closed at the moment.
                continue
            self.received += 1
            self._receive(self._buffer[:size].tobytes())
            if bound.fileno() < 0:
                return
