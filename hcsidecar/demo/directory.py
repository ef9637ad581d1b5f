"""Makes the demo's temporary directory, and removes those of demos that were killed."""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "hcsidecar-demo-"
LEFT_OVER_AFTER = 5.0
"Seconds since its last change after which a directory without an owner counts as left over."


@contextmanager
def own_directory(place: Path) -> Iterator[Path]:
    """Make a directory in `place`, remove it at the end, and remove the directories there of demos that have ended."""
    remove_leftovers(place)
    directory = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    try:
        with _owned(directory):
            yield directory
    finally:
        shutil.rmtree(directory)


def remove_leftovers(place: Path) -> None:
    """Remove the directories of killed demos of this user."""
    for directory in place.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another user's, or gone at this moment
            about = directory.lstat()
            if about.st_uid == os.geteuid() and time.time() - about.st_mtime > LEFT_OVER_AFTER:
                with _owned(directory):
                    shutil.rmtree(directory)


@contextmanager
def _owned(directory: Path) -> Iterator[None]:
    """Own a directory until the end of the block or of this process. Raise BlockingIOError if it has an owner."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
