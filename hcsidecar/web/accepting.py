"""Accepting connections when there are no descriptors left: from a reserve, then in place of the longest silent one.

asyncio's own listener writes a traceback for each connection that it cannot accept, some hundred a second, and answers
nobody meanwhile.
"""

import os
import socket
from collections.abc import Callable
from typing import Any, Final

from hcsidecar.core.events import Event
from hcsidecar.core.exhaustion import Shortage, explained

HELD: Final = 8
"Descriptors in reserve: probes that are answered before anybody else must go."
ACCEPT_COMPLAINT: Final = "socket.accept() out of system resource"
"What an event loop of Python's complains of when it rests for a second; it is told otherwise, and once."


class Admission:
    """Lets connections in when descriptors are scarce; one for all listeners of a daemon.

    `make_room` ends the connection that has been silent longest, and gives False when there is none; `clock` gives
    seconds of the monotonic clock. `tell` takes what the operator should know.
    """

    def __init__(
        self, make_room: Callable[[], bool], *, clock: Callable[[], float], tell: Callable[[Event], object]
    ) -> None:
        self._make_room = make_room
        self._clock = clock
        self._tell = tell
        self._shortage = Shortage()
        self._held: list[int] = []
        self.refill()

    def lend(self) -> bool:
        """Let go of a descriptor of the reserve, if there is one."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def make_room(self, why: str) -> bool:
        """End a connection, whose descriptor is free in the loop's next turn; False if there is none to end."""
        event = self._shortage.met(why, now=self._clock())
        if event is not None:
            self._tell(event)
        return self._make_room()

    def refill(self) -> None:
        """Hold back descriptors again, as many as can be had; to be called from time to time."""
        try:
            while len(self._held) < HELD:
                self._held.append(os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
        except OSError:  # the reserve is in use, and the rest too
            return
        event = self._shortage.look(now=self._clock())
        if event is not None:
            self._tell(event)

    def close(self) -> None:
        """Let go of the reserve; safe to repeat."""
        while self.lend():
            pass


class ListeningSocket(socket.socket):
    """A listening socket for an event loop, whose `accept` copes with scarcity."""

    admission: Admission | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection; BlockingIOError when there is none, or room for one is made only now."""
        try:
            return super().accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            raise
        except OSError as error:
            why = explained(error.errno)
            if why is None:
                # The network's error for a connection that has gone already (accept(2)): there may be others.
                raise BlockingIOError from error
            if self.admission is None:
                raise
            if self.admission.lend():
                return self.accept()
            if self.admission.make_room(why):
                raise BlockingIOError from error
            # There is nobody to send away. The loop rests for a second.
            raise
