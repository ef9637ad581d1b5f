"""The filter in user space, for kernels without BPF: a netfilter queue hands packets to a process.

The process judges them with `classify`, by memory that it shares with the daemon (`queue_reader`). `queue_rules` has
the rules that lead packets into the queue.
"""

import mmap
import os
import select
import subprocess
import sys
import time
import weakref
from hashlib import blake2b
from pathlib import Path
from typing import IO, Final, cast

from l2mode.core.frames import virtual_mac
from l2mode.core.settings import LayerTwoSettings
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery
from l2mode.kernel.errors import FilterError
from l2mode.kernel.queue_reader import READY
from l2mode.kernel.queue_rules import QueueRules
from l2mode.kernel.record import Record

_QUEUES: Final = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")
_NUMBERS: Final = 1 << 16
_START_LIMIT: Final = 15.0
"Seconds until a reader must be ready: the start of an interpreter on a busy machine."
_EMPTY_LIMIT: Final = 0.5
"Seconds until packets that wait for a reader whose place another has taken are given up."
_END_LIMIT: Final = 1.0
"Seconds until a reader that does not end by itself is killed."


class QueueFilter:
    """A `PacketFilter` that leads the packets of one interface through a process."""

    name = "nfqueue"

    def __init__(self, settings: LayerTwoSettings, interface: str, record: Record) -> None:
        self._interface = interface
        self._number = _unused_number(settings.farm)
        flooded = settings.delivery is Delivery.FLOODED
        self._rules = QueueRules(settings, interface, record, virtual_mac=virtual_mac(settings) if flooded else None)
        self._file = os.memfd_create("hcsidecar")
        weakref.finalize(self, os.close, self._file)
        os.ftruncate(self._file, Tables.SIZE)
        self.memory = memoryview(mmap.mmap(self._file, Tables.SIZE))
        self._reader: subprocess.Popen[str] | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What interferes with the filter, as of the last `attach` or `repair`."""
        return self._rules.warnings

    def prepare(self) -> None:
        """Start the reader, to which nothing leads yet. Raise FilterError if it does not begin."""
        self._keep_reading()

    def attach(self) -> None:
        """Start the reader, then lead packets to it, in place of rules that an earlier process left.

        Raise FilterError if either fails.
        """
        replaces = self._rules.noted
        try:
            self._keep_reading()
            self._rules.set_up(self._number)
        except FilterError:
            if replaces:
                self._end_reader()  # the rules lead to another queue, or to none, which drops
            else:
                self.detach()
            raise

    def detach(self) -> None:
        """Remove the rules and end the reader; safe to repeat."""
        self._rules.take_down()
        self._end_reader()

    def retire(self) -> None:
        """End the reader, as soon as it has judged what still waits for it."""
        end = time.monotonic() + _EMPTY_LIMIT
        while _waiting(self._number) and time.monotonic() < end:
            time.sleep(_EMPTY_LIMIT / 50)
        self._end_reader()

    def repair(self) -> str | None:
        """Restart the reader if it has ended, and restore rules that somebody has removed.

        Return a sentence about what was restored, or None. Raise FilterError if it cannot be.
        """
        before = self._reader
        self._keep_reading()
        news = [] if before is self._reader else ["the process that reads the packet queue had ended: started again"]
        news += [f"somebody has removed {what}: put back" for what in self._rules.set_up(self._number)]
        return "; ".join(news) or None

    def _keep_reading(self) -> None:
        if self._reader is not None and self._reader.poll() is None:
            return
        self._end_reader()
        arguments = [str(self._file), str(self._number), self._interface]
        reader = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-P", "-m", "l2mode.kernel.queue_reader", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[self._file],
            text=True,
        )
        self._reader = reader
        problem = _wait_until_ready(reader)
        if problem is not None:
            self._end_reader()
            raise problem

    def _end_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is None:
            return
        try:
            reader.communicate(timeout=_END_LIMIT)
        except subprocess.TimeoutExpired:
            reader.kill()
            reader.communicate()


def _wait_until_ready(reader: "subprocess.Popen[str]") -> FilterError | None:
    """Return what keeps the reader from its work, or None once it has begun."""
    answer = cast("IO[str]", reader.stdout)
    waiting = select.poll()
    waiting.register(answer, select.POLLIN)
    if not waiting.poll(_START_LIMIT * 1000):
        return FilterError(
            f"the process that reads the packet queue is not ready after {_START_LIMIT:g} s",
            "look whether this machine is overloaded",
        )
    said = answer.readline().strip()
    if said == READY:
        return None
    remedy = answer.readline().strip()
    if remedy:
        return FilterError(said, remedy)
    return FilterError(
        f"the process that reads the packet queue ended at once, with status {reader.wait()}",
        "read what it wrote to the standard error of this daemon",
    )


def _waiting(number: int) -> int:
    """Return how many packets wait in a queue."""
    return next((int(waiting) for queue, _, waiting, *_ in _queues() if int(queue) == number), 0)


def _queues() -> list[list[str]]:
    """Return the fields of each queue that is read: number, reader, packets that wait, and more."""
    try:
        return [line.split() for line in _QUEUES.read_text(encoding="ascii").splitlines()]
    except FileNotFoundError:  # the module is not loaded yet
        return []


def _unused_number(farm: str) -> int:
    """Return the number of a queue that nobody reads: the same as the last time, if it is free."""
    used = {int(queue) for queue, *_ in _queues()}
    first = int.from_bytes(blake2b(farm.encode(), digest_size=2).digest())
    return next(number % _NUMBERS for number in range(first, first + _NUMBERS) if number % _NUMBERS not in used)
