"""The operator's directory with the farm file: where the names of a bundle lead in it, and what is kept out of bundles.

A symbolic link is followed if it ends below the directory, and refused otherwise. Nothing here reads more bytes than
it is told to, and nothing waits: neither for the writer of a pipe nor for a device.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Self

from hcsidecar.core.settings.named_files import is_left_out
from hcsidecar.core.settings.revision import FARM_FILE, name_problem
from hcsidecar.farmfile.certificate_files import AuthorityFiles
from hcsidecar.farmfile.loading import LoadedFarm

MOST_ENTRIES: Final = 2000
"Files and directories that are looked at for one bundle."


class RefusedError(Exception):
    """A file cannot be of a bundle, or cannot be read or written; the text is a sentence that names it."""


class NoFileError(RefusedError):
    """There is no such file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """What was read of a file."""

    content: bytes
    executable: bool
    "By anybody."
    status: os.stat_result


class FarmDirectory:
    """The directory of a farm file. `private` names files and directories that are never in a bundle.

    Everything here may wait for the disk.
    """

    def __init__(self, farm_file: Path, *, private: Iterable[Path] = ()) -> None:
        self.farm_file = farm_file.absolute()
        self.root = Path(os.path.realpath(self.farm_file.parent))
        real = map(os.path.realpath, [self.farm_file, *private])
        # A state directory may be one above: then it is its own files that are private, and they have other names.
        self._private = frozenset(path for path in real if not self.root.is_relative_to(path))
        # A hard link to the key file, or another name of it by a mount, gives the key away as well.
        self._identities = frozenset(filter(None, map(_identity, self._private)))

    @classmethod
    def of(cls, loaded: LoadedFarm, *, private: Iterable[Path] = ()) -> Self:
        """Return the directory of a farm. Its key file, authority, certificates and state are private."""
        farm = loaded.farm
        tables = [table for table in (farm.web.tls, farm.health.tls) if table is not None]
        named = [loaded.resolve(name) for table in tables for name in (table.cert, table.key)]
        authority = AuthorityFiles.beside(loaded.key_file)
        named += [authority.certificate, authority.key]
        state = [] if farm.farm.state_dir is None else [Path(farm.farm.state_dir) / farm.farm.name]
        return cls(loaded.working_copy, private=[loaded.key_file, *named, *state, *private])

    def name_of(self, name: str) -> str:
        """Return the name of a file of the bundle as the operator knows it: the farm file may have another one here."""
        return self.farm_file.name if name == FARM_FILE else name

    def place(self, name: str) -> Path:
        """Return where a file of the bundle is, or is to be, with no symbolic link on the way. Raise RefusedError."""
        if name == FARM_FILE:
            found = Path(os.path.realpath(self.farm_file))
        elif (why := name_problem(name)) is not None:
            raise RefusedError(f"{name!r} {why}")
        else:
            found = Path(os.path.realpath(self.root / name))
        if not found.is_relative_to(self.root) or found == self.root:
            text = f"{self.name_of(name)} leads out of {self.root} by a symbolic link to {found}"
            raise RefusedError(f"{text}: put the file there instead")
        if name != FARM_FILE and self.is_private(found):
            raise RefusedError(f"{name} is a file that stays on this machine: the farm file, a key or a certificate")
        return found

    def entry(self, name: str) -> Path:
        """Return the path of a file by its name, which may be a symbolic link to its place. Raise RefusedError."""
        parent, _, last = name.rpartition("/")
        return (self.place(parent) if parent else self.root) / last

    def is_private(self, path: Path) -> bool:
        """Return whether this path, without symbolic links in it, is or lies in what is never in a bundle."""
        return not self._private.isdisjoint(map(os.fspath, (path, *path.parents))) or (
            _identity(path) in self._identities
        )

    def read(self, name: str, *, most: int) -> FoundFile:
        """Return a file of the bundle, or of a larger one its first `most` + 1 bytes. Raise RefusedError, NoFileError.

        The farm file may be a link that leads anywhere: the daemon has started with it.
        """
        with self._to_read(name) as path:
            return read_file(path, most=most)

    def status(self, name: str) -> os.stat_result:
        """Return the status of a file that `read` would read. Raise RefusedError, NoFileError."""
        with self._to_read(name) as path:
            return path.stat()

    @contextmanager
    def _to_read(self, name: str) -> Iterator[Path]:
        path = self.farm_file if name == FARM_FILE else self.place(name)
        try:
            yield path
        except (FileNotFoundError, NotADirectoryError):
            raise NoFileError(f"{path} is not there") from None
        except OSError as error:
            raise RefusedError(f"{path} cannot be read: {error.strerror}") from None

    def walk(self, directories: Iterable[str]) -> Iterator[str | RefusedError]:
        """Give the names of all files in these directories and those below, or why one is refused; never a private one.

        Pipes, sockets and devices are not files. A directory that is not there has none.
        """
        looked_at = 0
        waiting = [(name, frozenset[Path]()) for name in sorted(directories, reverse=True)]
        while waiting:
            name, above = waiting.pop()
            looked_at += 1
            if looked_at > MOST_ENTRIES:
                yield RefusedError(f"there are more than {MOST_ENTRIES} files in the directories of scripts")
                return
            try:
                place = self._place_to_walk(name, above)
                kind = place.stat().st_mode
                if stat.S_ISREG(kind):
                    yield name
                if stat.S_ISDIR(kind):
                    every = (f"{name}/{entry.name}" for entry in place.iterdir() if not is_left_out(entry.name))
                    inside = sorted(islice(every, MOST_ENTRIES), reverse=True)
                    waiting += [(entry, above | {place}) for entry in inside]
            except _PrivateError:
                continue
            except RefusedError as error:
                yield error
            except (FileNotFoundError, NotADirectoryError):
                if (self.root / name).is_symlink():
                    yield RefusedError(f"{name} is a symbolic link to nothing: remove it")
            except OSError as error:
                yield RefusedError(f"{self.root / name} cannot be read: {error.strerror}")

    def _place_to_walk(self, name: str, above: frozenset[Path]) -> Path:
        place = Path(os.path.realpath(self.root / name))
        if self.is_private(place):
            raise _PrivateError
        place = self.place(name)
        if place in above:
            raise RefusedError(f"{name} is a symbolic link to a directory that it lies in: remove it")
        return place


class _PrivateError(Exception):
    """This one stays on the machine."""


def read_file(path: Path, *, most: int) -> FoundFile:
    """Return a file, or of a larger one its first `most` + 1 bytes. Raise OSError, also where it is no plain file."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no plain file: move it away", os.fspath(path))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(most + 1)
    finally:
        os.close(descriptor)
    return FoundFile(content=content, executable=bool(status.st_mode & 0o111), status=status)


def _identity(path: str | Path) -> tuple[int, int] | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
