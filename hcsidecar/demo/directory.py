"""The demo's temporary directory; and those of demos that were killed, which the next one removes."""

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
"Seconds since its latest change after which a directory without an owner is left over: a new one has one at once."


@contextmanager
def own_directory(place: Path) -> Iterator[Path]:
    """Make a directory of our own in a place, removed at the end; remove those there whose demos are no more."""
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
        with suppress(OSError):  # somebody else's, or gone in this moment
            about = directory.lstat()
            if about.st_uid == os.geteuid() and time.time() - about.st_mtime > LEFT_OVER_AFTER:
                with _owned(directory):
                    shutil.rmtree(directory)


@contextmanager
def _owned(directory: Path) -> Iterator[None]:
    """Own a directory for as long as this process lives at most; BlockingIOError if it is another's."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
