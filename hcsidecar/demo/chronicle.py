"""Collects what happens in one order, from the daemons' logs, HAProxy's log, and the demo's own actions."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

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
        text, grave = read_daemon_line(line)
        if text:
            self.write(node, text, grave=grave)


def read_daemon_line(line: str) -> tuple[str, bool]:
    """Return the text of a line, and whether it is grave."""
    try:
        entry = read_json(line, LogLine)
    except JsonError:
        return line.strip(), True
    return f"{entry.origin}: {entry.message}", entry.level in (Level.WARNING, Level.ERROR)
