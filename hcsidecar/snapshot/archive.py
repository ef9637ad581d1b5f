"""Writes a snapshot as a zip archive, and reads the events from one, which may come from anybody.

Nothing is ever unpacked to the disk, and no more is decompressed than a snapshot can have.
"""

import io
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from hcsidecar.core.snapshot_timeline import (
    LARGEST_EVENTS,
    LARGEST_FILE,
    LARGEST_TIMELINE,
    MOST_NODES,
    NodeEvents,
    node_of_member,
    read_events,
)

_END_BYTES: Final = 22
"The end record of an archive without a comment (APPNOTE.TXT, 4.3.16)."
_END: Final = b"PK\x05\x06"
_LOCATOR: Final = b"PK\x06\x07"
"Of an archive in the form zip64, which no snapshot needs."
_LARGEST_DIRECTORY: Final = 4 * 1024 * 1024
_UNREADABLE: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
_MODE: Final = 0o100600


class ArchiveError(Exception):
    """Raised if a file is no snapshot that can be read; the text says why."""


class MemberEvents(NamedTuple):
    """The events of one node in an archive."""

    node: str
    events: NodeEvents
    lacking: str
    "Why some or all are missing."


class NewFile:
    """A file that gets its name only when its content is on the disk. Raise OSError at once if it cannot be made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".hcsidecar-snapshot-")
        os.close(descriptor)
        self._new = Path(name)

    def place(self, content: bytes) -> None:
        """Write the content, with mode 0600, and give the file its name. Raise OSError, and then nothing is left."""
        try:
            with self._new.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            self._new.replace(self.path)
        finally:
            self.remove()

    def remove(self) -> None:
        """Remove what is not placed; safe to repeat."""
        self._new.unlink(missing_ok=True)


def archive(members: Iterable[tuple[str, str]], *, at: tuple[int, int, int, int, int, int]) -> bytes:
    """Return an archive of these files, which are of the local time `at`."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as written:
        for name, text in members:
            info = zipfile.ZipInfo(name, date_time=at)
            info.external_attr = _MODE << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            written.writestr(info, text.encode("utf-8", "replace"))
    return content.getvalue()


def events_in(path: Path) -> Iterator[MemberEvents]:
    """Yield the events of each node in a snapshot. Raise ArchiveError if it is none."""
    try:
        with path.open("rb") as file:
            _check(file, path)
            with zipfile.ZipFile(file) as opened:
                yield from _events(opened)
    except _UNREADABLE as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ArchiveError(f"{path} cannot be read: {why}") from None


def _check(file: io.BufferedReader, path: Path) -> None:
    """Raise ArchiveError if reading the directory of the archive could take much memory."""
    size = file.seek(0, os.SEEK_END)
    if size > LARGEST_FILE:
        raise ArchiveError(f"{path} has {size} bytes, and a snapshot has {LARGEST_FILE} at most")
    file.seek(max(0, size - _END_BYTES - 20))
    tail = file.read()
    end = tail[-_END_BYTES:]
    if len(end) < _END_BYTES or not end.startswith(_END) or end[-2:] != b"\0\0":
        raise ArchiveError(f"{path} is not a snapshot of hcsidecar, or its end is missing")
    if tail[:-_END_BYTES].startswith(_LOCATOR) or int.from_bytes(end[12:16], "little") > _LARGEST_DIRECTORY:
        raise ArchiveError(f"{path} has far more files than a snapshot can have")
    file.seek(0)


def _events(opened: zipfile.ZipFile) -> Iterator[MemberEvents]:
    room, seen = LARGEST_TIMELINE, set[str]()
    for info in opened.infolist():
        node = node_of_member(info.filename)
        if node is None or node in seen or len(seen) >= MOST_NODES:
            continue
        seen.add(node)
        most, lacking, content = min(room, LARGEST_EVENTS), "", b""
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            lacking = "its events are compressed in a way that is not read"
        else:
            try:
                with opened.open(info) as member:
                    content = member.read(most + 1)
            except _UNREADABLE as error:
                lacking = f"its events are damaged: {error}"
        if len(content) > most:
            content, lacking = content[:most], f"its events have more than {most} bytes: the rest is not shown"
        room -= len(content)
        yield MemberEvents(node=node, events=read_events(content), lacking=lacking)
