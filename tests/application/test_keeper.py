"""The keeper's log, and what it does when it is told nothing."""

import os
import shutil
import subprocess
import sys

import pytest

from hcsidecar.application import keeper
from hcsidecar.application.keeper import Log


def log(path, *, limit=2000):
    return Log(os.fsencode(path), limit=limit, owner=os.geteuid())


def test_a_log_begins_anew_at_half_of_its_limit_and_keeps_the_half_before(tmp_path):
    written = b"".join(b"%d\n" % number for number in range(10000))
    made = log(tmp_path / "log")
    for start in range(0, len(written), 37):
        made.write(written[start : start + 37])
    old, new = (tmp_path / "log.old").read_bytes(), (tmp_path / "log").read_bytes()
    assert len(old) == 1000
    assert len(new) <= 1000
    assert written.endswith(old + new)


@pytest.mark.parametrize("size", [999, 1000, 1001, 1999, 2000, 2001, 100000])
def test_a_piece_of_any_size_leaves_the_log_within_its_limit(tmp_path, size):
    log(tmp_path / "log").write(b"x" * (size - 1) + b"!")
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert sum(sizes) == min(size, 2000)
    assert max(sizes) <= 1000
    assert (tmp_path / "log").read_bytes().endswith(b"!")


def test_a_log_goes_on_where_an_earlier_one_has_ended(tmp_path):
    (tmp_path / "log").write_bytes(b"a" * 999)
    log(tmp_path / "log").write(b"bc")
    assert (tmp_path / "log.old").read_bytes().endswith(b"ab")
    assert (tmp_path / "log").read_bytes() == b"c"


def test_a_disk_that_is_full_takes_nothing_and_hinders_nobody(tmp_path):
    (tmp_path / "log").symlink_to("/dev/full")
    made = log(tmp_path / "log")
    for _ in range(100):
        made.write(b"x" * 500)


def test_a_log_that_cannot_be_made_is_tried_again(tmp_path):
    made = log(tmp_path / "later" / "log")
    made.write(b"lost")
    (tmp_path / "later").mkdir()
    made.write(b"lost too, but opens it")
    made.write(b"kept")
    assert (tmp_path / "later" / "log").read_bytes() == b"kept"


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: shutil.rmtree(path.parent)])
def test_a_log_that_somebody_removes_is_begun_anew(tmp_path, harm):
    path = tmp_path / "application" / "log"
    path.parent.mkdir()
    made = log(path)
    made.write(b"before")
    harm(path)
    made.write(b"after")
    assert path.read_bytes() == b"after"


def test_a_log_whose_directory_is_gone_for_good_hinders_nobody(tmp_path):
    path = tmp_path / "state" / "application" / "log"
    path.parent.mkdir(parents=True)
    made = log(path)
    shutil.rmtree(tmp_path / "state")
    for _ in range(100):
        made.write(b"x" * 500)
    assert not path.exists()


def test_a_log_that_cannot_be_put_aside_stays_within_its_limit(tmp_path):
    (tmp_path / "log.old").mkdir()
    made = log(tmp_path / "log")
    for _ in range(10):
        made.write(b"x" * 700)
    assert (tmp_path / "log").stat().st_size <= 1000


@pytest.mark.parametrize("said", [b"", b"argument=/bin/false\0", b"log=/tmp/x\0go"])
def test_a_job_that_is_not_said_to_its_end_is_not_done(said):
    done = subprocess.run(
        [sys.executable, "-I", "-S", keeper.__file__], input=said, capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
