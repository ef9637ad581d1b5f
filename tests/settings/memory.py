"""Directories in memory, where flushing to the disk takes no time."""

import tempfile
from pathlib import Path


def in_memory() -> tempfile.TemporaryDirectory[str]:
    """Make a directory in memory where there is a file system for that."""
    shared = Path("/dev/shm")  # noqa: S108 - the directory has a name of its own there
    return tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None)
