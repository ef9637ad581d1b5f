"""What the lab keeps between its runs, by a digest of what went into it."""

import hashlib
import os
import shutil

from vm.kernels import cache, made_once


def kept(kind, key, make, *, most):
    """Give a directory of the cache that `make(directory)` fills; of its kind, the `most` that were used last stay.

    A machine that has a file of a removed one open goes on with it.
    """
    with made_once(cache() / f"{kind}-{key}", make) as directory:
        os.utime(directory)
    others = [path for path in cache().glob(f"{kind}-*") if path.is_dir() and not path.name.endswith(".unfinished")]
    for old in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)[most:]:
        shutil.rmtree(old)
    return directory


def digest(files, *values):
    """Give a short name for the content of files, in this order, and for values."""
    found = hashlib.sha256(repr(values).encode())
    for file in files:
        found.update(f"\n{file.name} {file.stat().st_mode & 0o111} ".encode())
        found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]
