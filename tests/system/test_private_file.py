"""Small files that are replaced as a whole."""

import os
import threading

import pytest

from hcsidecar.system.private_file import place_file, replace_file


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(("options", "expected"), [({}, 0o600), ({"mode": 0o644}, 0o644), ({"mode": 0o755}, 0o755)])
def test_a_file_has_the_mode_that_is_asked_for_whatever_the_umask_and_what_a_crash_left(tmp_path, options, expected):
    (tmp_path / "unit.new").write_text("half of")
    (tmp_path / "unit.new").chmod(0o640)
    umask = os.umask(0o027)
    try:
        replace_file(tmp_path / "unit", b"text", **options)
    finally:
        os.umask(umask)
    assert [path.name for path in tmp_path.iterdir()] == ["unit"]
    assert (tmp_path / "unit").read_text() == "text"
    assert mode(tmp_path / "unit") == expected


def test_a_file_that_is_there_is_replaced_only_if_it_may_be(tmp_path):
    path = tmp_path / "farm.key"
    place_file(path, b"first", replace=False)
    with pytest.raises(FileExistsError):
        place_file(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    place_file(path, b"third", replace=True)
    assert path.read_bytes() == b"third"
    assert mode(path) == 0o600
    with pytest.raises(FileNotFoundError):
        place_file(tmp_path / "other", b"", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["farm.key"]


def test_of_several_that_are_made_at_once_one_becomes_the_file(tmp_path):
    def make(content):
        try:
            place_file(tmp_path / "farm.key", content, replace=False)
        except FileExistsError:
            refused.append(content)

    refused = []
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=make, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([(tmp_path / "farm.key").read_bytes(), *refused]) == contents
    assert [path.name for path in tmp_path.iterdir()] == ["farm.key"]
