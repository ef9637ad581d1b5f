"""Small files, most of them private to this user, written so that a crash leaves either the old or the new content."""

import os
import tempfile
from pathlib import Path

from hcsidecar.core.lost_files import Stamp, what_became


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a new file beside the old one, flush it to disk, and put it in its place. Raise OSError if that fails.

    For one writer at a time: the new file always has the same name, so that crashes leave one at most.
    """
    new = path.with_suffix(".new")
    _write_to_disk(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), content)
    new.chmod(mode)  # whatever the umask, and also for a file that a crash has left
    new.replace(path)


def place_file(path: Path, content: bytes, *, replace: bool, mode: int = 0o600) -> None:
    """Create a file, or replace one and keep its owner. Several writers at the same time do not disturb each other.

    Raise FileExistsError if there is a file and it must not be replaced, or OSError if the system refuses.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.")
    new = Path(name)
    try:
        _write_to_disk(descriptor, content, owner=path.stat() if replace else None)
        new.chmod(mode)
        if replace:
            new.replace(path)
        else:
            # If several writers create the file at the same time, one of them wins, and nobody ever reads half of it.
            path.hardlink_to(new)
    finally:
        new.unlink(missing_ok=True)


def _write_to_disk(descriptor: int, content: bytes, *, owner: os.stat_result | None = None) -> None:
    """Write all of the content, flush it to disk, and close the file."""
    with open(descriptor, "wb") as file:
        if owner is not None and hasattr(os, "fchown"):
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, content: bytes) -> str | None:
    """Replace a file as `replace_file` does. Return the reason if that fails, else None."""
    try:
        replace_file(path, content)
    except OSError as error:
        return error.strerror or str(error)
    return None


def make_directory(path: Path) -> None:
    """Create a directory, and the missing ones above it, for this user only. Raise OSError if that fails."""
    for missing in [*reversed([above for above in path.parents if not above.exists()]), path]:
        missing.mkdir(mode=0o700, exist_ok=True)


def flush_directory(path: Path) -> None:
    """Flush to disk which files are in a directory: a renamed one may be lost in a crash before. Raise OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stamp(path: Path) -> Stamp | None:
    """Return what identifies a file; None if there is none, or it cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(device=status.st_dev, inode=status.st_ino, size=status.st_size, modified=status.st_mtime_ns)


class KeptFile:
    """A file that must stay as this process has written it. Every method may wait for the disk, and none raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._left: Stamp | None = None
        "The stamp of the file when it was last written; None before the first time."

    def write(self, content: bytes) -> str | None:
        """Write the file, and its directory if it is missing. Return the reason if that fails, else None."""
        try:
            make_directory(self.path.parent)
        except OSError as error:
            return error.strerror or str(error)
        reason = replace_private(self.path, content)
        if reason is None:
            self._left = stamp(self.path)
        return reason

    def what_became(self) -> str | None:
        """Return what somebody else has done to the file since it was written, or None."""
        return None if self._left is None else what_became(self._left, stamp(self.path))
