"""The events of a snapshot: how they are written, and the timeline of all nodes that is read from them again.

A snapshot comes from somebody else. What is not as this version writes it is passed over and counted.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from hcsidecar.core.documents import Entry
from hcsidecar.core.json_reading import JsonError, read_json

EVENTS: Final = "events.jsonl"
LARGEST_FILE: Final = 256 * 1024 * 1024
"Bytes of a snapshot that is read."
MOST_NODES: Final = 256
LARGEST_EVENTS: Final = 8 * 1024 * 1024
"Bytes of the events of one node, decompressed."
LARGEST_TIMELINE: Final = 128 * 1024 * 1024
"Bytes of the events of all nodes, decompressed."
LONGEST_LINE: Final = 65_536
_MEMBER: Final = re.compile(rf"([A-Za-z0-9][A-Za-z0-9._-]{{0,62}})/{re.escape(EVENTS)}")
_NEWEST: Final = 253_402_300_799.0
"Seconds since 1970 at the end of the year 9999: a datetime has none after it."


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvents:
    """The events of one node."""

    entries: tuple[Entry, ...]
    unreadable: int = 0
    "Lines that are no events."


def node_of_member(name: str) -> str | None:
    """Return the node whose events a member of the archive has; None if it is something else."""
    match = _MEMBER.fullmatch(name)
    return match[1] if match else None


def as_lines(entries: Iterable[Entry]) -> str:
    """Return events as lines of JSON."""
    return "".join(f"{msgspec.json.encode(entry).decode()}\n" for entry in entries)


def as_text(entry: Entry) -> str:
    """Return an event as a line for a person, with the time in UTC."""
    try:
        at = datetime.fromtimestamp(entry.time, UTC)
    except (ValueError, OverflowError, OSError):
        at = datetime.fromtimestamp(0, UTC)
    when = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"
    return f"{when} {entry.node} {entry.level:<7} {entry.origin}: {entry.message}"


def read_events(content: bytes) -> NodeEvents:
    """Return the events in lines of JSON."""
    entries, unreadable = [], 0
    for line in content.split(b"\n"):
        if not line:
            continue
        entry = _entry(line) if len(line) <= LONGEST_LINE else None
        if entry is None:
            unreadable += 1
        else:
            entries.append(entry)
    return NodeEvents(entries=tuple(entries), unreadable=unreadable)


def _entry(line: bytes) -> Entry | None:
    try:
        entry = read_json(line, Entry)
    except JsonError:
        return None
    return entry if 0 <= entry.time <= _NEWEST else None


def merged(
    nodes: Iterable[Sequence[Entry]], *, since: float = 0.0, pattern: re.Pattern[str] | None = None
) -> list[Entry]:
    """Return the events of all nodes by time; those of one node in their own order, where its clock went back too."""
    wanted = [
        entry
        for entries in nodes
        for entry in entries
        if entry.time >= since and (pattern is None or pattern.search(f"{entry.origin}: {entry.message}"))
    ]
    return sorted(wanted, key=lambda entry: entry.time)
