"""Why something was not written to a disk or read from it, in words that say what helps."""

import errno
from collections.abc import Mapping
from typing import Final

from hcsidecar.core.exhaustion import explained

_WHAT_HELPS: Final[Mapping[int, str]] = {
    errno.ENOSPC: "make room on that file system",
    errno.EDQUOT: "make room there, or raise the quota",
    errno.EROFS: "mount that file system writable",
    errno.EACCES: "let the daemon's user read and write there",
    errno.EPERM: "let the daemon's user own it, and look for chattr +i",
    errno.ENOENT: "make the directory that it is to be in",
    errno.ENOTDIR: "a file is where a directory is needed: move it away",
    errno.EEXIST: "something else is in its place: move it away",
    errno.EISDIR: "a directory is where a file is needed: move it away",
    errno.ENOTEMPTY: "a directory is where a file is needed: move it away",
    errno.EIO: "look at the disk: dmesg",
}


def disk_error(what: str, path: object, error: OSError) -> str:
    """Return a sentence of what could not be done at which path, why, and what helps where that is known."""
    reason = explained(error.errno) or error.strerror or str(error)
    helps = _WHAT_HELPS.get(error.errno or 0)
    return f"{what} {path}: {reason}" + (f" ({helps})" if helps else "")
