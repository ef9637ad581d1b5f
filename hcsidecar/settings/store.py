"""The revisions of a node on its disk, and the record of its part in the agreement on them.

    settings/current.json          one record, replaced as a whole
    settings/working_copy.json     another: where the operator's files are, and as of which revision
    settings/removed-web3.json     the notice that web3 is no longer in the farm
    settings/8-3fa1c2d4/           revision 8: number and first digits of the digest
        manifest.json
        files/                     the bundle; gone where only the history is kept

A revision is written into a directory of another name, flushed to the disk, and renamed: after a crash it is there as a
whole or not at all. Everything is verified when it is read. Damage is reported and never raised, since a node with a
bad disk continues with what it has in memory and can get the revision from another node.

One thread at a time may use a store. Everything here waits for the disk.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from hcsidecar.core.json_reading import JsonError, read_json
from hcsidecar.core.settings.disk_errors import disk_error
from hcsidecar.core.settings.revision import BundleError, Manifest, RevisionId, content_problem, decode_manifest
from hcsidecar.settings.farm_directory import read_file
from hcsidecar.settings.unpacking import unpack
from hcsidecar.system.private_file import flush_directory, make_directory, replace_file

KEPT: Final = 5
"Revisions whose files are kept, the latest ones, besides those that somebody needs."
KEPT_MANIFESTS: Final = 100
_DIGITS: Final = 8
"Hexadecimal digits of the digest in the name of a directory."
_REVISION: Final = re.compile(rf"([1-9][0-9]{{0,15}})-([0-9a-f]{{{_DIGITS}}})")
_MANIFEST: Final = "manifest.json"
_FILES: Final = "files"
CURRENT: Final = "current.json"
"The record of what this node goes by."
WORKING_COPY: Final = "working_copy.json"
"The record of the operator's files."
_REMOVAL: Final = re.compile(r"removed-([A-Za-z0-9._-]{1,63})\.json")
_REMOVALS: Final = 128
"Notices of removed nodes that are read: more than a farm has nodes."
_LARGEST: Final = 1_048_576
"Bytes of a manifest or of the record; larger ones are damaged."
_UNFINISHED: Final = ".unfinished-"
"Begins the names of directories that are being written or removed."

T = TypeVar("T")


class StoreError(Exception):
    """The disk refuses: a sentence with the path and what helps."""


@dataclass(frozen=True, slots=True)
class NotReadable:
    """Something is not stored, or is damaged: a sentence."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRevision:
    """A revision as it was read, and verified."""

    manifest: Manifest
    contents: Mapping[str, bytes]
    directory: Path
    "Where its files are, the farm file by the name that it has in bundles."


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredManifests:
    """What a store knows of all revisions, the files of most of which are gone."""

    manifests: tuple[Manifest, ...]
    "The highest number first."
    with_files: frozenset[RevisionId]
    problems: tuple[str, ...]
    "Sentences about what is damaged."


class RevisionStore:
    """The revisions below one directory, which need not be there. Raise StoreError if it cannot be used.

    With `only_read` nothing in it is changed, since a daemon may be using it.
    """

    def __init__(self, directory: Path, *, only_read: bool = False) -> None:
        self.directory = directory
        try:
            if only_read:
                self._refuse_others()
                return
            is_new = not directory.exists()
            make_directory(directory)
            self._keep_private()
            if is_new:
                flush_directory(directory.parent)
            leftovers = [path for path in directory.iterdir() if path.name.startswith(_UNFINISHED)]
        except OSError as error:
            raise StoreError(disk_error("cannot keep settings in", directory, error)) from None
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)  # what cannot be removed does no harm

    def save(self, manifest: Manifest, contents: Mapping[str, bytes]) -> None:
        """Store a revision; it is on the disk afterwards. Raise StoreError, or BundleError if these are other files."""
        place = self._place(manifest.id)
        found = self.load(manifest.id)
        try:
            if isinstance(found, NotReadable):
                self._write(manifest, contents, place)
            flush_directory(self.directory)
        except OSError as error:
            raise StoreError(disk_error(f"cannot store {manifest.id} in", place, error)) from None

    def load(self, revision: RevisionId) -> StoredRevision | NotReadable:
        """Return a revision with its files, or why it cannot be had here."""
        place = self._place(revision)
        try:
            manifest = _read_manifest(place)
            if manifest.id != revision:
                return NotReadable(f"{place} is of another revision: {manifest.id.digest}")
            if not (place / _FILES).is_dir():
                return NotReadable(f"{revision} is known here by name only: its files are not kept any more")
            contents = {}
            for entry in manifest.files:
                found = read_file(place / _FILES / entry.name, most=entry.size)
                problem = content_problem(entry, found.content)
                if problem is None and found.executable != entry.executable:
                    problem = f"{entry.name} is {'' if found.executable else 'not '}executable, and should be otherwise"
                if problem is not None:
                    return NotReadable(f"{revision} is damaged in {place}: {problem}")
                contents[entry.name] = found.content
        except FileNotFoundError as error:
            if not place.exists():
                return NotReadable(f"{revision} is not stored in {self.directory}")
            return NotReadable(f"{revision} is damaged in {place}: {error.filename} is missing")
        except OSError as error:
            return NotReadable(disk_error(f"{revision} cannot be read in", error.filename or place, error))
        except BundleError as error:
            return NotReadable(f"{revision} is damaged in {place}: {error}")
        return StoredRevision(manifest=manifest, contents=contents, directory=place / _FILES)

    def manifests(self) -> StoredManifests:
        """Return what is known of all revisions here."""
        found, with_files, problems = [], set(), []
        try:
            places = self._places()
        except OSError as error:
            problem = disk_error("cannot read", self.directory, error)
            return StoredManifests(manifests=(), with_files=frozenset(), problems=(problem,))
        for place in places:
            try:
                manifest = _read_manifest(place)
                has_files = (place / _FILES).is_dir()
            except FileNotFoundError:
                problems.append(f"{place} is damaged: it has no {_MANIFEST}")
                continue
            except OSError as error:
                problems.append(disk_error("cannot read", error.filename or place, error))
                continue
            except BundleError as error:
                problems.append(f"{place / _MANIFEST} is damaged: {error}")
                continue
            if self._place(manifest.id) != place:
                problems.append(f"{place} is of another revision: {manifest.id}")
                continue
            found.append(manifest)
            with_files |= {manifest.id} if has_files else set()
        return StoredManifests(manifests=tuple(found), with_files=frozenset(with_files), problems=tuple(problems))

    def prune(self, needed: Collection[RevisionId]) -> None:
        """Keep the files of the latest revisions and of those that are needed, and the manifests of some more.

        Raise StoreError if something cannot be removed.
        """
        kept = {self._place(revision) for revision in needed}
        try:
            for index, place in enumerate(self._places()):
                if place in kept or index < KEPT:
                    continue
                self._remove(place / _FILES if index < KEPT_MANIFESTS else place)
        except OSError as error:
            raise StoreError(disk_error("cannot remove what is not needed of", self.directory, error)) from None

    def remove(self, revision: RevisionId) -> None:
        """Forget a revision that was never taken, as if it had not been stored. Raise StoreError."""
        place = self._place(revision)
        try:
            self._remove(place)
            flush_directory(self.directory)
        except OSError as error:
            raise StoreError(disk_error(f"cannot remove {revision} from", place, error)) from None

    def save_record(self, record: msgspec.Struct, *, name: str = CURRENT) -> None:
        """Replace a record; it is on the disk afterwards. Raise StoreError, and then the former one is there."""
        path = self.directory / name
        try:
            replace_file(path, msgspec.json.encode(record) + b"\n")
            flush_directory(self.directory)
        except OSError as error:
            raise StoreError(disk_error("cannot write", path, error)) from None

    def load_record(self, kind: type[T], *, name: str = CURRENT) -> T | NotReadable | None:
        """Return a record; None if there is none."""
        path = self.directory / name
        try:
            content = read_file(path, most=_LARGEST).content
            if len(content) > _LARGEST:
                return NotReadable(f"{path} is damaged: it has more than {_LARGEST} bytes")
            return read_json(content, kind)
        except FileNotFoundError:
            return None
        except OSError as error:
            return NotReadable(disk_error("cannot read", path, error))
        except JsonError as error:
            return NotReadable(f"{path} is damaged: {error}")

    def save_removal(self, name: str, notice: bytes) -> None:
        """Keep the notice that a node is no longer in the farm. Raise StoreError."""
        path = self.directory / f"removed-{name}.json"
        try:
            replace_file(path, notice)
            flush_directory(self.directory)
        except OSError as error:
            raise StoreError(disk_error("cannot write", path, error)) from None

    def removals(self) -> dict[str, bytes]:
        """Return the notices by node. What cannot be read is left out."""
        found: dict[str, bytes] = {}
        with suppress(OSError):
            for path in sorted(self.directory.iterdir()):
                match = _REMOVAL.fullmatch(path.name)
                if match is not None and len(found) < _REMOVALS:
                    with suppress(OSError):
                        found[match[1]] = read_file(path, most=_LARGEST).content
        return found

    def _keep_private(self) -> None:
        """Close the directory to others, who could change what runs as root. Raise OSError if it is another user's."""
        if self._refuse_others() & 0o077:
            self.directory.chmod(0o700)

    def _refuse_others(self) -> int:
        """Return the mode of the directory. Raise OSError if it is another user's."""
        status = self.directory.stat()
        if hasattr(os, "geteuid") and status.st_uid not in (0, os.geteuid()):
            raise OSError(0, f"it belongs to another user (uid {status.st_uid}): chown it to the daemon's")
        return status.st_mode if hasattr(os, "geteuid") else 0

    def _place(self, revision: RevisionId) -> Path:
        return self.directory / f"{revision.number}-{revision.digest[:_DIGITS]}"

    def _places(self) -> list[Path]:
        """Return the directories of revisions, the highest number first. Raise OSError."""
        named = [
            (int(match[1]), match[2], path)
            for path in self.directory.iterdir()
            if (match := _REVISION.fullmatch(path.name)) is not None
        ]
        return [path for _, _, path in sorted(named, reverse=True)]

    def _write(self, manifest: Manifest, contents: Mapping[str, bytes], place: Path) -> None:
        with self._unfinished() as directory:
            new = directory / "new"
            new.mkdir(mode=0o700)
            unpack(manifest, contents, new / _FILES, flush=True)
            replace_file(new / _MANIFEST, manifest.encoded())
            flush_directory(new)
            there = self._revision_at(place)
            if there is not None and there != manifest.id:
                raise StoreError(f"cannot store {manifest.id.digest} in {place}, where {there.digest} is")
            if there is not None and not os.path.lexists(place / _FILES):
                (new / _FILES).rename(place / _FILES)
                flush_directory(place)
                return
            if os.path.lexists(place):
                place.rename(directory / "damaged")
            new.rename(place)

    def _revision_at(self, place: Path) -> RevisionId | None:
        """Return which revision has this directory; None if there is none, or it is damaged."""
        with suppress(OSError, BundleError):
            found = _read_manifest(place).id
            return found if self._place(found) == place else None
        return None

    def _remove(self, path: Path) -> None:
        """Remove a directory; after a crash it is there as a whole, or under a name that the next start removes."""
        if os.path.lexists(path):
            with self._unfinished() as directory:
                path.rename(directory / "old")

    @contextmanager
    def _unfinished(self) -> Iterator[Path]:
        """Make a directory in which something is written or removed; it goes in the end with all that is left in it."""
        path = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.directory))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _read_manifest(place: Path) -> Manifest:
    """Raise OSError, or BundleError if it is damaged."""
    return decode_manifest(read_file(place / _MANIFEST, most=_LARGEST).content)
