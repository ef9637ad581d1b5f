"""The archive of a snapshot: written whole or not at all, and read though it may come from anybody."""

import errno
import stat
import struct
import subprocess
import zipfile

import pytest

from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Level
from hcsidecar.core.snapshot_timeline import LARGEST_EVENTS, as_lines
from hcsidecar.snapshot.archive import ArchiveError, NewFile, archive, events_in

AT = (2026, 11, 30, 20, 0, 0)
ENTRY = Entry(number=1, time=10.0, node="web1", level=Level.INFO, origin="daemon", message="starts")


def written(path, members):
    path.write_bytes(archive(members, at=AT))
    return path


def test_events_are_read_as_they_were_written(tmp_path):
    path = written(tmp_path / "a.zip", [("README.txt", "x"), ("web1/events.jsonl", as_lines([ENTRY]))])

    (found,) = events_in(path)

    assert (found.node, found.events.entries, found.lacking) == ("web1", (ENTRY,), "")


def test_a_new_file_is_private_and_appears_with_its_content_only(tmp_path):
    new = NewFile(tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()

    new.place(b"content")

    assert (tmp_path / "a.zip").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "a.zip").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_full_disk_leaves_no_file(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False).returncode:
        pytest.skip("needs root")
    try:
        new = NewFile(disk / "a.zip")
        with pytest.raises(OSError, match=r".") as caught:
            new.place(bytes(1_000_000))
        left = list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)

    assert caught.value.errno == errno.ENOSPC
    assert left == []


def test_a_bomb_is_read_up_to_the_limit_and_told(tmp_path):
    path = written(tmp_path / "a.zip", [("web1/events.jsonl", "x" * (LARGEST_EVENTS + 10))])

    (found,) = events_in(path)

    assert "the rest is not shown" in found.lacking
    assert found.events.unreadable == 1


def test_hostile_names_and_doubles_are_passed_over(tmp_path):
    lines = as_lines([ENTRY])
    names = ["../events.jsonl", "/etc/events.jsonl", "a/../../events.jsonl", "\x1b[2J/events.jsonl"]
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for name in [*names, "web1/events.jsonl"]:
            opened.writestr(name, lines)
        with pytest.warns(UserWarning, match="Duplicate"):
            opened.writestr("web1/events.jsonl", lines * 2)

    assert [(found.node, len(found.events.entries)) for found in events_in(path)] == [("web1", 1)]


def test_other_compressions_are_not_read(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as opened:
        opened.writestr("web1/events.jsonl", as_lines([ENTRY]))

    (found,) = events_in(path)

    assert found.events.entries == ()
    assert "not read" in found.lacking


def test_a_damaged_member_is_told(tmp_path):
    path = written(tmp_path / "a.zip", [("web1/events.jsonl", as_lines([ENTRY] * 100))])
    content = bytearray(path.read_bytes())
    content[60:70] = bytes(10)
    path.write_bytes(content)

    (found,) = events_in(path)

    assert "damaged" in found.lacking


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a snapshot"),
        (b"x" * 1000, "not a snapshot"),
        (struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, 1 << 30, 0, 0), "far more files"),
        (b"PK\x06\x07" + bytes(16) + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0, 0, 0, 0, 0), "far more files"),
        (struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 100, 0, 0), "cannot be read"),
    ],
)
def test_what_is_no_snapshot_is_refused(tmp_path, content, why):
    (tmp_path / "a.zip").write_bytes(content)

    with pytest.raises(ArchiveError, match=why):
        list(events_in(tmp_path / "a.zip"))


def test_a_file_that_is_missing_or_a_directory_is_told(tmp_path):
    for path in (tmp_path / "missing.zip", tmp_path):
        with pytest.raises(ArchiveError, match="cannot be read"):
            list(events_in(path))
