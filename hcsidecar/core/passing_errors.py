"""What keeps a daemon from starting and passes by itself: by the error of the system, in words."""

import errno
from typing import Final, NamedTuple

_OF_AN_ADDRESS: Final = {
    # An IPv6 address whose duplicates are looked for still is this as well (RFC 4862, 5.4).
    errno.EADDRNOTAVAIL: "this machine does not have the address (yet)",
    errno.EADDRINUSE: "another process has the port: ss -tulpn",
}
_OF_A_DIRECTORY: Final = frozenset(
    {errno.EROFS, errno.ENOSPC, errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO, errno.ETIMEDOUT}
)
"A disk or a mount that is not ready. That this user may not is not among them."


class BindFailure(NamedTuple):
    """Why a socket is not bound to an address."""

    reason: str
    passing: bool
    "It may pass by itself."


def why_not_bound(error: OSError) -> BindFailure:
    """Say why a socket is not bound to an address."""
    known = _OF_AN_ADDRESS.get(error.errno or 0)
    if known is not None:
        return BindFailure(known, passing=True)
    return BindFailure(error.strerror or str(error), passing=False)


def directory_may_come(error: OSError) -> bool:
    """Tell whether a directory that cannot be made may be there later without anybody's doing."""
    return error.errno in _OF_A_DIRECTORY
