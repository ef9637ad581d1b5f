"""What is said of a disk that refuses."""

import errno
import os

import pytest

from hcsidecar.core.settings.disk_errors import disk_error


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "cannot write /x: No space left on device (make room on that file system)"),
        (errno.EROFS, "cannot write /x: Read-only file system (mount that file system writable)"),
        (errno.EACCES, "cannot write /x: Permission denied (let the daemon's user read and write there)"),
        (errno.EMFILE, "cannot write /x: too many open files (LimitNOFILE= of the unit, ulimit -n)"),
        (errno.ESTALE, "cannot write /x: Stale file handle"),
    ],
)
def test_a_refusal_is_told_with_path_and_reason_and_what_helps(number, said):
    assert disk_error("cannot write", "/x", OSError(number, os.strerror(number))) == said


def test_a_refusal_without_a_number_is_told_in_its_own_words():
    assert disk_error("cannot read", "/x", OSError("odd")) == "cannot read /x: odd"
    assert disk_error("cannot read", "/x", OSError(0, "it is no plain file")) == "cannot read /x: it is no plain file"
