"""Small files, of this user's alone for the most part: after a crash there is either the old one or the new one."""

import os
import tempfile
from pathlib import Path

from hcsidecar.core.lost_files import Stamp, what_became


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a new file beside the old one, on disk, and put it in its place. Raises OSError.

    For one writer at a time: the new file always has the same name, so that crashes leave one at most.
    """
    new = path.with_suffix(".new")
    _write_to_disk(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), content)
    new.chmod(mode)  # whatever the umask, and also one that was left by a crash
    new.replace(path)


def place_file(path: Path, content: bytes, *, replace: bool) -> None:
    """Make the file, or replace one that keeps its owner then; several writers at once do not disturb each other.

    FileExistsError when there is one and it is not to be replaced, OSError as the system says.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    new = Path(name)
    try:
        _write_to_disk(descriptor, content, owner=path.stat() if replace else None)
        if replace:
            new.replace(path)
        else:
            # Of several that are made at the same time one becomes the file, and nobody ever reads half of it.
            path.hardlink_to(new)
    finally:
        new.unlink(missing_ok=True)


def _write_to_disk(descriptor: int, content: bytes, *, owner: os.stat_result | None = None) -> None:
    """Write all of it, on disk when this returns, and close the file."""
    with open(descriptor, "wb") as file:
        if owner is not None and hasattr(os, "fchown"):
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, content: bytes) -> str | None:
    """Replace a file, as `replace_file` does; gives the reason when that fails."""
    try:
        replace_file(path, content)
    except OSError as error:
        return error.strerror or str(error)
    return None


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, for this user only. Raises OSError."""
    for missing in [*reversed([above for above in path.parents if not above.exists()]), path]:
        missing.mkdir(mode=0o700, exist_ok=True)


def stamp(path: Path) -> Stamp | None:
    """Tell a file from all others; None where there is none, or it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return Stamp(device=status.st_dev, inode=status.st_ino, size=status.st_size, modified=status.st_mtime_ns)


class KeptFile:
    """A file that stays as this process has written it. Every method may wait for the disk, and none raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._left: Stamp | None = None
        "How it was left; None before the first time."

    def write(self, content: bytes) -> str | None:
        """Write it anew, its directory made if it is missing; gives the reason when that fails."""
        try:
            make_directory(self.path.parent)
        except OSError as error:
            return error.strerror or str(error)
        reason = replace_private(self.path, content)
        if reason is None:
            self._left = stamp(self.path)
        return reason

    def what_became(self) -> str | None:
        """Say what somebody else has done to it since it was written, or None."""
        return None if self._left is None else what_became(self._left, stamp(self.path))
