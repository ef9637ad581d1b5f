"""Which events the Events page shows: the filter in its address, for events of the past and for those that come."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec

from hcsidecar.core.console.queries import LONGEST_GREP
from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Level

_RANKS: Final = {level: rank for rank, level in enumerate(Level)}
_RUN: Final = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{3}Z_[A-Za-z0-9_-]{1,64}", re.ASCII)
_Minute = Annotated[str, msgspec.Meta(pattern=r"\A([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?)?\Z")]


class EventFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The filter, as the parameters of the page's address. An empty text filters nothing."""

    node: Annotated[str, msgspec.Meta(max_length=63)] = ""
    level: Level = Level.INFO
    "The lowest level."
    origin: Annotated[str, msgspec.Meta(max_length=64)] = ""
    text: Annotated[str, msgspec.Meta(max_length=LONGEST_GREP)] = ""
    "In `origin: message`; ASCII letters match in either case."
    since: _Minute = ""
    "The first moment, in UTC: 2026-12-01T03:00."
    until: _Minute = ""
    "The last moment, in UTC; the whole of this minute."

    @property
    def begins_at(self) -> float | None:
        """The first moment, in seconds since 1970; None if there is none, or the calendar has no such day."""
        moment = _moment(self.since)
        return None if moment is None else max(0.0, moment)

    @property
    def ends_before(self) -> float | None:
        """The end of the last minute, in seconds since 1970."""
        moment = _moment(self.until)
        return None if moment is None else moment - moment % 60 + 60

    @property
    def is_open(self) -> bool:
        """Whether events that come now may be among those that are shown."""
        return not self.until

    def takes(self, entry: Entry) -> bool:
        """Return whether the page shows an event."""
        begins, ends = self.begins_at, self.ends_before
        return (
            (not self.node or entry.node == self.node)
            and _RANKS[entry.level] >= _RANKS[self.level]
            and (not self.origin or entry.origin == self.origin)
            and _ascii_lower(self.text) in _ascii_lower(f"{entry.origin}: {entry.message}")
            and (begins is None or entry.time >= begins)
            and (ends is None or entry.time < ends)
        )


def split_runs(message: str) -> Sequence[tuple[str, bool]]:
    """Split a message where it names runs of scripts: each part with whether it is the name of a run."""
    parts: list[tuple[str, bool]] = []
    at = 0
    for match in _RUN.finditer(message):
        parts += [(message[at : match.start()], False), (match[0], True)]
        at = match.end()
    return [part for part in [*parts, (message[at:], False)] if part[0]]


def _moment(text: str) -> float | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:  # there is no such day
        return None


def _ascii_lower(text: str) -> str:
    return "".join(chr(ord(each) + 32) if "A" <= each <= "Z" else each for each in text)
