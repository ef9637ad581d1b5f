"""What passes by itself, by the error of the system."""

import errno

import pytest

from hcsidecar.core.passing_errors import directory_may_come, why_not_bound


@pytest.mark.parametrize(
    ("number", "said", "passing"),
    [
        (errno.EADDRNOTAVAIL, "this machine does not have the address (yet)", True),
        (errno.EADDRINUSE, "another process has the port: ss -tulpn", True),
        (errno.EACCES, "Permission denied", False),
    ],
)
def test_an_address_or_a_port_may_come_and_a_permission_does_not(number, said, passing):
    assert why_not_bound(OSError(number, "Permission denied")) == (said, passing)


def test_a_disk_may_come_and_a_permission_does_not():
    assert directory_may_come(OSError(errno.EROFS, "Read-only file system"))
    assert not directory_may_come(OSError(errno.EACCES, "Permission denied"))
