"""What each signal means to this process: its end, rereading its files, or nothing. None ends it silently."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Final

from hcsidecar.core.events import Event, Level
from hcsidecar.core.exit_status import signal_name

ENDING: Final = ("SIGTERM", "SIGINT", "SIGQUIT")
REREADING: Final = "SIGHUP"
_MEANINGLESS: Final = (
    "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT", "SIGXCPU",
)  # fmt: skip
"""Those of signal(7) that would end a process, mean nothing here, and are sent by people or by a limit; also SIGRTMIN
and above."""


def hold_still() -> None:
    """Keep signals from ending this process before it has a loop, except those that are meant to end it.

    They are caught rather than ignored: the operator's programs would inherit an ignored signal.
    """
    for number in (*_numbered(REREADING), *_meaningless()):
        signal.signal(number, lambda *_: None)


class Signals:
    """The signals of one process, on the running loop. `lead_to` sets who is told; until then `ended` is set."""

    def __init__(self, *, tell: Callable[[Event], object]) -> None:
        self._tell = tell
        self._told: set[str] = set()
        self.ended = asyncio.Event()
        "Set when this process was told to end before `lead_to` was called, or after `stop_leading`."
        self.told_to_end = False
        "This process was told to end, whenever that was."
        self._end: Callable[[str], object]
        self._reread: Callable[[], object]
        self.stop_leading()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # on Windows the loop takes no signals
            for name in ENDING:
                for number in _numbered(name):
                    loop.add_signal_handler(number, self._told_to_end, name)
            for number in _numbered(REREADING):
                loop.add_signal_handler(number, self._told_to_reread)
            for number in _meaningless():
                # The loop would look each up among all signals of the system, which takes longer than everything else
                # here.
                signal.signal(
                    number, lambda number, _: loop.call_soon_threadsafe(self._told_nothing, signal_name(number))
                )

    def lead_to(self, *, end: Callable[[str], object], reread: Callable[[], object]) -> None:
        """Call these from now on: `end` with the signal's name."""
        self._end, self._reread = end, reread

    def stop_leading(self) -> None:
        """Call nobody any more: set `ended` when this process is told to end."""
        self._end = lambda _: self.ended.set()
        self._reread = lambda: None

    def _told_to_end(self, name: str) -> None:
        self.told_to_end = True
        self._end(name)

    def _told_to_reread(self) -> None:
        self._reread()

    def _told_nothing(self, name: str) -> None:
        """Report each signal once: somebody who sends one again and again must not fill the log."""
        if name not in self._told:
            self._told.add(name)
            message = (
                f"{name} has no meaning here: SIGTERM ends this daemon with its drain, SIGHUP reads its files anew"
            )
            self._tell(Event(level=Level.WARNING, origin="daemon", message=message))


def _numbered(name: str) -> Iterator[int]:
    """Yield the number of a signal, if this system has it."""
    number = getattr(signal, name, None)
    if number is not None:
        yield number


def _meaningless() -> Iterator[int]:
    for name in _MEANINGLESS:
        yield from _numbered(name)
    if hasattr(signal, "SIGRTMIN"):
        yield from range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
