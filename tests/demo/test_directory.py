"""The demo's temporary directory: its own while it runs, and removed by the next one if it was killed."""

import os
import time

from hcsidecar.demo.directory import LEFT_OVER_AFTER, PREFIX, own_directory, remove_leftovers


def age(directory):
    """Make a directory look as if nothing had happened in it for a while."""
    then = time.time() - LEFT_OVER_AFTER - 1
    os.utime(directory, (then, then))


def test_a_directory_is_removed_at_the_end_with_all_in_it(tmp_path):
    with own_directory(tmp_path) as directory:
        assert directory.parent == tmp_path
        (directory / "file").touch()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_demo_left_is_removed_by_the_next(tmp_path):
    left = tmp_path / f"{PREFIX}left"
    left.mkdir()
    (left / "file").touch()
    age(left)
    with own_directory(tmp_path) as directory:
        assert list(tmp_path.iterdir()) == [directory]


def test_the_directory_of_a_demo_that_runs_is_left_alone(tmp_path):
    with own_directory(tmp_path) as directory:
        age(directory)
        remove_leftovers(tmp_path)
        assert directory.exists()


def test_what_has_only_just_been_made_or_is_not_the_demos_is_left_alone(tmp_path):
    new, other = tmp_path / f"{PREFIX}new", tmp_path / "other"
    link = tmp_path / f"{PREFIX}link"
    new.mkdir()
    other.mkdir()
    link.symlink_to(other)
    age(other)
    remove_leftovers(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([new, link, other])
