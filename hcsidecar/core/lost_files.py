"""What somebody else has done to the files that a running daemon keeps, and how that is told: in one line."""

from dataclasses import dataclass
from typing import Final

from hcsidecar.core.events import Event, Level

GATHER = 2.0
"Seconds from the first loss to the line that tells of it: of a removed directory every part finds its own file gone."

REMOVED: Final = "was removed"
REPLACED: Final = "was replaced"
OVERWRITTEN: Final = "was overwritten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What tells a file from every other, and from itself before it was written to; as stat(2) gives it."""

    device: int
    inode: int
    size: int
    modified: int
    "Nanoseconds."


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A file that was found otherwise than it was left, and is as it should be again."""

    path: str
    what: str
    "What was done to it: `was removed`."
    remedy: str
    "What was done about it: `written again`."

    def __str__(self) -> str:
        return f"{self.path.rpartition('/')[2]} {self.what} ({self.remedy})"


def what_became(left: Stamp, found: Stamp | None) -> str | None:
    """Say what somebody has done to a file since it was left, or None; `found` is None where there is no such file."""
    if found is None:
        return REMOVED
    if (found.device, found.inode) != (left.device, left.inode):
        return REPLACED
    return None if found == left else OVERWRITTEN


class Losses:
    """Gathers losses until all that belong together are there."""

    def __init__(self) -> None:
        self._found: dict[str, Loss] = {}
        self._since: float | None = None

    def note(self, loss: Loss) -> None:
        """Take in a loss; of several of one file the last is told."""
        self._found[loss.path] = loss

    def take(self, *, now: float) -> Event | None:
        """Give the event that tells of what was gathered, once it is time; `now` in monotonic seconds."""
        if not self._found:
            return None
        if self._since is None:
            self._since = now
        if now - self._since < GATHER:
            return None
        found, self._found, self._since = self._found, {}, None
        directories: dict[str, list[str]] = {}
        for path in sorted(found):
            directories.setdefault(path.rpartition("/")[0], []).append(str(found[path]))
        told = "; ".join(f"in {directory}, {', '.join(losses)}" for directory, losses in directories.items())
        message = f"somebody has changed files of this running node: {told}"
        return Event(level=Level.WARNING, origin="daemon", message=message)
