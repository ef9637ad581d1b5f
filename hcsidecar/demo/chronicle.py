"""Collects what happens in one order, from the daemons' logs, HAProxy's log, and the demo's own actions."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hcsidecar.core.documents import LogLine
from hcsidecar.core.events import Level
from hcsidecar.core.json_reading import JsonError, read_json

REMEMBERED = 2000
BALANCER = "haproxy"
"The origin of lines of HAProxy's log."
DEMO = "demo"
"The origin of the demo's own actions."


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One line of the story."""

    at: float
    "When the demo learned of it, in seconds of the monotonic clock."
    origin: str
    text: str
    grave: bool


class Chronicle:
    """The last happenings. Each one is also passed to `show` as it comes."""

    def __init__(self, *, clock: Callable[[], float], show: Callable[[Happening], None]) -> None:
        self._clock = clock
        self._show = show
        self._happenings: deque[Happening] = deque(maxlen=REMEMBERED)

    def write(self, origin: str, text: str, *, grave: bool = False) -> None:
        """Add a happening."""
        happening = Happening(at=self._clock(), origin=origin, text=text, grave=grave)
        self._happenings.append(happening)
        self._show(happening)

    def last(self, count: int) -> list[Happening]:
        """Return the last ones, oldest first."""
        return list(self._happenings)[-count:]

    def lines(self, origin: str, *, since: float) -> list[str]:
        """Return the texts of one origin from a time on."""
        return [event.text for event in self._happenings if event.origin == origin and event.at >= since]

    def take_daemon_line(self, node: str, line: str) -> None:
        """Add a line of a daemon's output: of its log (--log-json), or what it prints when it fails."""
        read = read_daemon_line(line)
        if read.text:
            self.write(node, read.text, grave=read.grave)


class DaemonLine(NamedTuple):
    """A line of a daemon's output, as it is shown."""

    text: str
    grave: bool


def read_daemon_line(line: str) -> DaemonLine:
    """Read a line of a daemon's log, or of what it prints when it fails."""
    try:
        entry = read_json(line, LogLine)
    except JsonError:
        return DaemonLine(line.strip(), grave=True)
    return DaemonLine(f"{entry.origin}: {entry.message}", grave=entry.level in (Level.WARNING, Level.ERROR))
