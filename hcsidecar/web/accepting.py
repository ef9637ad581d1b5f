"""Accepts connections when no descriptors are left: from a reserve, then in place of the longest silent connection.

asyncio's own listener writes a traceback for each connection that it cannot accept, some hundred a second, and answers
nobody meanwhile.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from hcsidecar.core.events import Event
from hcsidecar.core.exhaustion import Shortage, explained

HELD: Final = 8
"Descriptors in reserve: as many probes are answered before another connection must be ended."
ACCEPT_COMPLAINT: Final = "socket.accept() out of system resource"
"The complaint of Python's event loop when it pauses for a second; it is replaced by an event, reported once."
_TURNS: Final = 4
"Of the loop: one begins a task for the connection, the next one makes its transport, the third its protocol."


class Admission:
    """Lets connections in when descriptors are scarce; one for all listeners of a daemon.

    `make_room` ends the connection that has been silent longest, and returns False if there is none; `clock` returns
    seconds of the monotonic clock. `tell` takes the events for the operator.
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
        """Free a descriptor of the reserve. Return whether there was one."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def make_room(self, why: str) -> bool:
        """End a connection, whose descriptor is free in the loop's next turn. Return False if there is none to end."""
        event = self._shortage.met(why, now=self._clock())
        if event is not None:
            self._tell(event)
        return self._make_room()

    def refill(self) -> None:
        """Fill the reserve again, as far as possible. Call this from time to time."""
        try:
            while len(self._held) < HELD:
                self._held.append(os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)))
        except OSError:  # the reserve is in use, and everything else too
            return
        event = self._shortage.look(now=self._clock())
        if event is not None:
            self._tell(event)

    def close(self) -> None:
        """Give up the reserve; safe to repeat."""
        while self.lend():
            pass


class ListeningSocket(socket.socket):
    """A listening socket for an event loop, whose `accept` copes with a lack of descriptors."""

    admission: Admission | None = None
    is_ending = False

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection. Raise BlockingIOError if there is none, or if room for one is only now being made."""
        if self.is_ending:
            raise BlockingIOError
        try:
            return super().accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            raise
        except OSError as error:
            why = explained(error.errno)
            if why is None:
                # A network error of a connection that is gone already (accept(2)): there may be others.
                raise BlockingIOError from error
            if self.admission is None:
                raise
            if self.admission.lend():
                return self.accept()
            if self.admission.make_room(why):
                raise BlockingIOError from error
            # There is no connection to end. The loop pauses for a second.
            raise


class EndingListener(Protocol):
    """A listening socket that can be told to accept nothing more."""

    is_ending: bool


async def end_accepting(listener: EndingListener) -> None:
    """Accept nothing more, and wait until what was accepted is served; close the listener after that.

    A loop takes some turns to hand a connection to its protocol. If the server is closed before that, the loop fails to
    do so, and nobody closes the connection.
    """
    listener.is_ending = True
    for _ in range(_TURNS):
        await asyncio.sleep(0)
