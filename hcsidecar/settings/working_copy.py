"""Writes a revision into the operator's directory, and finds what the operator has edited there.

No edit is lost: a file that is neither as the former revision had it nor as the new one has it is kept beside the new
one, as NAME.unapplied. The farm file is written last, so that it never names scripts that are not there yet.
"""

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Final

from hcsidecar.core.settings.disk_errors import disk_error
from hcsidecar.core.settings.edits import Edit
from hcsidecar.core.settings.named_files import UNAPPLIED, whole_directories
from hcsidecar.core.settings.revision import FARM_FILE, FileEntry, Manifest
from hcsidecar.settings.farm_directory import FarmDirectory, FoundFile, NoFileError, RefusedError, read_file
from hcsidecar.system.private_file import place_file

_LONGEST_COMPONENT: Final = 255
_ATTEMPTS: Final = 5
"To replace a file that somebody writes at the same time."
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK})
"Errors of a file system without hard links, and of a kernel that allows no link to a file of somebody else."
_PERMISSIONS: Final = 0o777
_CLOCK_TICK: Final = 2.0
"""Seconds. A file that has changed so lately may change once more without another time: some file systems note seconds,
and the kernel's own clock has ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of the operator's directory, by the names that files have there."""

    written: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: Mapping[str, str]
    "The names under which edited files are kept, by those that they had."
    problems: tuple[str, ...] = ()
    "Sentences about what was not written or removed."


def write_revision(
    directory: FarmDirectory, new: Manifest, contents: Mapping[str, bytes], *, former: Manifest | None
) -> Written:
    """Make the files in the directory those of the revision. It is safe to repeat after a crash. Raises nothing.

    `former` is the revision that was there before: its files go if the new one does not have them, unless they were
    edited. `contents` are the files of the manifest, verified.
    """
    writing = _Writing(directory, former)
    names = {entry.name for entry in new.files}
    for entry in former.files if former is not None else ():
        if entry.name not in names:
            writing.attempt(partial(writing.remove, entry), entry)
    # False sorts before True.
    for entry in sorted(new.files, key=lambda entry: (entry.name == FARM_FILE, entry.name)):
        writing.attempt(partial(writing.write, entry, contents[entry.name]), entry)
    return writing.result()


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was found of a file when it was read last."""

    entry: FileEntry
    identity: tuple[int, ...]
    edit: Edit | None


class EditFinder:
    """Finds files of the operator that are not as a revision has them. Reads a file again only if it has changed.

    Everything here waits for the disk.
    """

    def __init__(self, directory: FarmDirectory) -> None:
        self._directory = directory
        self._seen: dict[str, _Seen] = {}

    def find(self, current: Manifest, *, now: float) -> tuple[Edit, ...]:
        """Return the files that are not as the current revision has them, sorted by name with the farm file first.

        `now` is in seconds since 1970. At first this reads as many bytes as a bundle has.
        """
        names = {entry.name for entry in current.files}
        self._seen = {name: seen for name, seen in self._seen.items() if name in names}
        found = [edit for entry in current.files if (edit := self._edit(entry, now)) is not None]
        found += _new(self._directory, names)
        return tuple(sorted(found, key=lambda edit: (edit.name != self._directory.farm_file.name, edit.name)))

    def _edit(self, entry: FileEntry, now: float) -> Edit | None:
        name = self._directory.name_of(entry.name)
        seen = self._seen.pop(entry.name, None)
        try:
            if seen is not None and (seen.entry, seen.identity) == (
                entry,
                _identity(self._directory.status(entry.name)),
            ):
                self._seen[entry.name] = seen
                return seen.edit
            file = self._directory.read(entry.name, most=entry.size)
        except NoFileError:
            return Edit(name=name, kind="missing")
        except RefusedError:
            return Edit(name=name, kind="edited")
        is_as_it_was = _is(file, entry) and _mode_is_right(file, entry)
        edit = None if is_as_it_was else Edit(name=name, kind="edited", at=file.status.st_mtime)
        if now - file.status.st_ctime > _CLOCK_TICK:
            self._seen[entry.name] = _Seen(entry, _identity(file.status), edit)
        return edit


def _identity(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes with the content and mode of a file, and nobody sets back."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mode, status.st_mtime_ns, status.st_ctime_ns


def edits(directory: FarmDirectory, current: Manifest) -> tuple[Edit, ...]:
    """Return the files that are not as the current revision has them, as `EditFinder` does for the first time."""
    return EditFinder(directory).find(current, now=0.0)


def _new(directory: FarmDirectory, names: set[str]) -> Iterator[Edit]:
    for found in directory.walk(whole_directories(names)):
        if isinstance(found, RefusedError) or found in names:
            continue  # what an apply would refuse is told by it
        try:
            status = directory.place(found).stat()
        except (OSError, RefusedError):
            continue
        yield Edit(name=found, kind="new", at=status.st_mtime)


class _Writing:
    """What was done so far."""

    def __init__(self, directory: FarmDirectory, former: Manifest | None) -> None:
        self._directory = directory
        self._former = {} if former is None else {entry.name: entry for entry in former.files}
        self._places: dict[Path, FileEntry] = {}
        self._written: list[str] = []
        self._removed: list[str] = []
        self._kept: dict[str, str] = {}
        self._problems: list[str] = []

    def result(self) -> Written:
        return Written(
            written=tuple(self._written),
            removed=tuple(self._removed),
            kept=self._kept,
            problems=tuple(self._problems),
        )

    def attempt(self, step: Callable[[], None], entry: FileEntry) -> None:
        """Take a step, and go on without it where the system or a rule refuses."""
        try:
            step()
        except RefusedError as error:
            self._problems.append(str(error))
        except OSError as error:
            path = self._directory.farm_file.parent / self._directory.name_of(entry.name)
            self._problems.append(disk_error("cannot write", path, error))

    def remove(self, entry: FileEntry) -> None:
        """Remove a file that the new revision does not have, if nobody has edited it."""
        place, path = self._directory.place(entry.name), self._directory.entry(entry.name)
        try:
            file = read_file(place, most=entry.size)
        except (FileNotFoundError, NotADirectoryError):
            return
        if not _is(file, entry):
            return
        path.unlink()
        self._removed.append(self._directory.name_of(entry.name))
        for above in path.parents:
            if above == self._directory.root or not above.is_relative_to(self._directory.root):
                break
            try:
                above.rmdir()
            except OSError:
                break  # something else is in it

    def write(self, entry: FileEntry, content: bytes) -> None:
        """Write a file where it differs, and keep what was edited."""
        place = self._directory.place(entry.name)
        other = self._places.setdefault(place, entry)
        if (other.sha256, other.executable) != (entry.sha256, entry.executable):
            text = f"{entry.name} and {other.name} are one file here, by a symbolic link, and differ in the revision"
            raise RefusedError(f"{text}: remove the link")
        for _ in range(_ATTEMPTS):
            if self._try_to_write(place, entry, content):
                return
        raise RefusedError(f"{place} is written by somebody else all the time: it is left as it is")

    def _try_to_write(self, place: Path, entry: FileEntry, content: bytes) -> bool:
        """Return False if somebody else has written the file meanwhile."""
        former = self._former.get(entry.name)
        try:
            file = read_file(place, most=max(entry.size, former.size if former is not None else 0))
        except FileNotFoundError:
            self._make_directories(place.parent)
            try:
                place_file(place, content, replace=False, mode=self._mode_of_new(entry))
            except FileExistsError:
                return False
            self._written.append(self._directory.name_of(entry.name))
            return True
        mode = _wanted_mode(file, entry)
        if _is(file, entry):
            if not _mode_is_right(file, entry):
                place.chmod(mode)
                self._written.append(self._directory.name_of(entry.name))
            return True
        if not _is_unchanged(place, file):
            return False
        if former is None or not _is(file, former):
            name = self._directory.name_of(entry.name)
            self._kept[name] = f"{name.rpartition('/')[0]}/{_keep(place)}".removeprefix("/")
            if not _is_unchanged(place, file):
                return False
        place_file(place, content, replace=True, mode=mode)
        self._written.append(self._directory.name_of(entry.name))
        return True

    def _make_directories(self, path: Path) -> None:
        mode = stat.S_IMODE(self._directory.root.stat().st_mode) & 0o755
        for missing in reversed([above for above in (path, *path.parents) if not above.exists()]):
            missing.mkdir(mode=mode)

    def _mode_of_new(self, entry: FileEntry) -> int:
        """Return a mode by which those may read a new file who may read the farm file."""
        try:
            readable = self._directory.farm_file.stat().st_mode & 0o644
        except OSError:
            readable = 0o600
        return _with_execution(readable, executable=entry.executable)


def _is(file: FoundFile, entry: FileEntry) -> bool:
    return len(file.content) == entry.size and sha256(file.content).hexdigest() == entry.sha256


def _mode_is_right(file: FoundFile, entry: FileEntry) -> bool:
    """Return whether it may be executed as the revision has it. Of the farm file nobody cares."""
    return entry.name == FARM_FILE or file.executable == entry.executable


def _wanted_mode(file: FoundFile, entry: FileEntry) -> int:
    mode = file.status.st_mode & _PERMISSIONS
    return mode if _mode_is_right(file, entry) else _with_execution(mode, executable=entry.executable)


def _with_execution(mode: int, *, executable: bool) -> int:
    """Return a mode by which those who may read a file may execute it, or nobody may."""
    return mode | (mode & 0o444) >> 2 if executable else mode & ~0o111


def _is_unchanged(path: Path, file: FoundFile) -> bool:
    """Return whether nobody has written or replaced a file since it was read."""
    try:
        now, then = path.stat(), file.status
    except OSError:
        return False
    return (now.st_ino, now.st_size, now.st_mtime_ns) == (then.st_ino, then.st_size, then.st_mtime_ns)


def _keep(path: Path) -> str:
    """Give an edited file one more name beside it, and return that; an editor may have it open. Raise OSError."""
    for number in count(1):
        ending = UNAPPLIED if number == 1 else f"{UNAPPLIED}-{number}"
        start = path.name.encode()[: _LONGEST_COMPONENT - len(ending)].decode(errors="ignore")
        kept = path.with_name(start + ending)
        try:
            kept.hardlink_to(path)
        except FileExistsError:
            if kept.exists() and kept.samefile(path):
                return kept.name  # of an attempt before
            continue
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            if os.path.lexists(kept):
                continue
            shutil.copy2(path, kept)
        return kept.name
    raise AssertionError("numbers do not end")  # pragma: no cover
