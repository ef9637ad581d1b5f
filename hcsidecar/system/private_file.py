"""Small files of this user's alone, written so that after a crash there is either the old one or the new one."""

import os
from pathlib import Path

from hcsidecar.core.lost_files import Stamp, what_became


def replace_private(path: Path, content: bytes) -> str | None:
    """Write a new file beside the old one, on disk, and put it in its place; gives the reason when that fails."""
    new = path.with_suffix(".new")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - needs a mode
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
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
