"""The working copy: a revision is written to it, and no edit of the operator is lost."""

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settings.farm_here import make_farm, script
from settings.killing import run_killed
from settings.memory import in_memory
from settings.revisions import CONTENTS, revision

from hcsidecar.core.settings.edits import Edit
from hcsidecar.core.settings.revision import FARM_FILE, Manifest
from hcsidecar.settings.bundle import read_bundle
from hcsidecar.settings.farm_directory import FarmDirectory
from hcsidecar.settings.working_copy import EditFinder, edits, write_revision

FORMER = revision()
CHANGED = CONTENTS | {"bin/start": b"#!/bin/sh\nexec apache2\n"}
CHANGED_REVISION = revision(2, CHANGED)


@pytest.fixture
def etc(tmp_path):
    """A directory as the former revision has it."""
    etc = tmp_path / "etc"
    etc.mkdir()
    assert write(etc, FORMER, CONTENTS, former=None).problems == ()
    return etc


def write(etc, new, contents, *, former=FORMER, farm_file=FARM_FILE, private=()):
    return write_revision(FarmDirectory(etc / farm_file, private=private), new, contents, former=former)


def edited(etc, current=FORMER, farm_file=FARM_FILE):
    return [(edit.kind, edit.name) for edit in edits(FarmDirectory(etc / farm_file), current)]


def files(etc):
    return {path.relative_to(etc).as_posix(): path.read_bytes() for path in etc.rglob("*") if path.is_file()}


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_revision_fills_an_empty_directory(etc):
    assert files(etc) == CONTENTS
    assert edited(etc) == []
    assert mode(etc / "bin/start") == 0o700
    assert mode(etc / "bin/lib/common.sh") == 0o600


def test_new_files_may_be_read_by_those_who_may_read_the_farm_file(etc):
    (etc / FARM_FILE).chmod(0o640)
    write(
        etc,
        revision(2, CONTENTS | {"bin/new": b"", "bin/tool": b""}, executable=["bin/start", "bin/tool"]),
        CONTENTS | {"bin/new": b"", "bin/tool": b""},
    )
    assert (mode(etc / "bin/new"), mode(etc / "bin/tool")) == (0o640, 0o750)


def test_only_what_differs_is_written(etc):
    before = (etc / "bin/lib/common.sh").stat()
    done = write(etc, CHANGED_REVISION, CHANGED)
    assert (done.written, done.removed, done.kept, done.problems) == (("bin/start",), (), {}, ())
    assert files(etc) == CHANGED
    after = (etc / "bin/lib/common.sh").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write(etc, CHANGED_REVISION, CHANGED).written == ()


def test_owner_and_mode_of_a_file_stay_and_execution_follows_the_revision(etc):
    (etc / "bin/start").chmod(0o750)
    if os.geteuid() == 0:
        os.chown(etc / "bin/start", 12345, 12346)
    write(etc, CHANGED_REVISION, CHANGED)
    assert mode(etc / "bin/start") == 0o750
    if os.geteuid() == 0:
        status = (etc / "bin/start").stat()
        assert (status.st_uid, status.st_gid) == (12345, 12346)
    done = write(etc, revision(3, CHANGED, executable=()), CHANGED)
    assert done.written == ("bin/start",)
    assert mode(etc / "bin/start") == 0o640


def test_an_edit_is_kept_beside_the_new_file_with_its_mode(etc):
    (etc / "bin/start").write_bytes(b"mine")
    (etc / FARM_FILE).write_bytes(b"mine too")
    (etc / "bin/lib/common.sh").write_bytes(b"x=2\n")
    new = CHANGED | {"bin/lib/common.sh": b"x=2\n"}
    done = write(etc, revision(2, new), new)
    assert done.kept == {"bin/start": "bin/start.unapplied", FARM_FILE: f"{FARM_FILE}.unapplied"}
    assert files(etc) == new | {"bin/start.unapplied": b"mine", f"{FARM_FILE}.unapplied": b"mine too"}
    assert mode(etc / "bin/start.unapplied") == 0o700
    assert edited(etc, revision(2, new)) == []


def test_the_next_edit_gets_a_number(etc):
    for index in range(3):
        (etc / "bin/start").write_bytes(b"mine %d" % index)
        write(etc, FORMER, CONTENTS)
    kept = {name: content for name, content in files(etc).items() if "unapplied" in name}
    assert kept == {
        "bin/start.unapplied": b"mine 0",
        "bin/start.unapplied-2": b"mine 1",
        "bin/start.unapplied-3": b"mine 2",
    }


def test_the_longest_name_has_room_for_an_edit(etc):
    name = "bin/" + "é" * 127 + "x"
    contents = CONTENTS | {name: b"theirs"}
    (etc / name).write_bytes(b"mine")
    done = write(etc, revision(2, contents), contents)
    assert done.problems == ()
    assert (etc / done.kept[name]).read_bytes() == b"mine"
    assert (etc / name).read_bytes() == b"theirs"


def test_a_file_that_the_operator_made_is_kept_where_a_revision_has_one_of_its_name(etc):
    (etc / "bin/new").write_bytes(b"mine")
    contents = CONTENTS | {"bin/new": b"theirs"}
    assert write(etc, revision(2, contents), contents).kept == {"bin/new": "bin/new.unapplied"}


def test_files_of_the_former_revision_go_unless_they_were_edited(etc):
    (etc / "bin/lib/common.sh").write_bytes(b"mine")
    only = {FARM_FILE: CONTENTS[FARM_FILE]}
    done = write(etc, revision(2, only), only)
    assert (done.removed, done.problems) == (("bin/start",), ())
    assert files(etc) == only | {"bin/lib/common.sh": b"mine"}
    (etc / "bin/lib/common.sh").write_bytes(CONTENTS["bin/lib/common.sh"])
    write(etc, revision(2, only), only)
    assert [path.name for path in etc.iterdir()] == [FARM_FILE]


def test_files_that_no_revision_had_stay(etc):
    (etc / "bin/notes").write_bytes(b"mine")
    only = {FARM_FILE: CONTENTS[FARM_FILE]}
    write(etc, revision(2, only), only)
    assert files(etc) == only | {"bin/notes": b"mine"}


def test_a_file_may_become_a_directory_and_a_directory_a_file(etc):
    other = {FARM_FILE: b"", "bin": b"file"}
    assert write(etc, revision(2, other), other).problems == ()
    assert files(etc) == other
    assert write(etc, revision(3), CONTENTS, former=revision(2, other)).problems == ()
    assert files(etc) == CONTENTS


def test_the_farm_file_keeps_its_name_of_this_node(tmp_path):
    done = write(tmp_path, FORMER, CONTENTS, former=None, farm_file="apache.toml")
    assert sorted(done.written) == ["apache.toml", "bin/lib/common.sh", "bin/start"]
    assert (tmp_path / "apache.toml").read_bytes() == CONTENTS[FARM_FILE]
    assert not (tmp_path / FARM_FILE).exists()
    (tmp_path / "apache.toml").write_bytes(b"mine")
    assert edited(tmp_path, farm_file="apache.toml") == [("edited", "apache.toml")]
    assert write(tmp_path, FORMER, CONTENTS, farm_file="apache.toml").kept == {"apache.toml": "apache.toml.unapplied"}


@pytest.mark.parametrize("what", ["bin/start", "bin/lib", FARM_FILE])
def test_a_link_that_leads_out_is_never_followed(etc, tmp_path, what):
    outside = tmp_path / "outside"
    (etc / what).rename(outside)
    (etc / what).symlink_to(outside)
    before = files(tmp_path / "outside") if outside.is_dir() else outside.read_bytes()
    new = {name: content + b"changed" for name, content in CONTENTS.items()}
    done = write(etc, revision(2, new), new)
    [problem] = done.problems
    assert f"by a symbolic link to {outside}" in problem
    assert before == (files(outside) if outside.is_dir() else outside.read_bytes())
    assert len(done.written) == 2
    [problem] = write(etc, revision(3, {FARM_FILE: b""}), {FARM_FILE: b""}).problems
    assert outside.exists()


def test_a_link_that_ends_below_the_directory_is_written_through(etc):
    (etc / "common").mkdir()
    (etc / "bin/start").rename(etc / "common/start")
    (etc / "bin/start").symlink_to("../common/start")
    assert write(etc, CHANGED_REVISION, CHANGED).problems == ()
    assert (etc / "bin/start").is_symlink()
    assert (etc / "common/start").read_bytes() == CHANGED["bin/start"]


def test_two_names_of_one_file_cannot_have_two_contents(etc):
    (etc / "bin/also").symlink_to("start")
    both = CHANGED | {"bin/also": CHANGED["bin/start"]}
    assert write(etc, revision(2, both, executable=["bin/also", "bin/start"]), both).problems == ()
    differ = both | {"bin/also": b"other"}
    [problem] = write(etc, revision(3, differ), differ).problems
    assert "are one file here, by a symbolic link" in problem


def test_keys_are_never_written_whatever_a_revision_says(etc, tmp_path):
    (etc / "farm.key").write_bytes(b"secret")
    (etc / "bin/key").hardlink_to(etc / "farm.key")
    (etc / "bin/link").symlink_to("../farm.key")
    hostile = CONTENTS | dict.fromkeys(["farm.key", "bin/key", "bin/link"], b"theirs")
    done = write(etc, revision(2, hostile), hostile, private=[etc / "farm.key"])
    assert len(done.problems) == 3
    assert (etc / "farm.key").read_bytes() == b"secret"
    done = write(etc, FORMER, CONTENTS, former=revision(2, hostile), private=[etc / "farm.key"])
    assert (done.removed, len(done.problems)) == ((), 3)


def test_names_that_lead_out_are_refused_even_of_a_manifest_that_was_not_decoded(etc, tmp_path):
    entries = revision(2).files
    hostile = Manifest(
        farm="apache",
        number=2,
        author="",
        made_at=0,
        files=(entries[0], *[_named(entries[1], name) for name in ("../x", "/etc/x", "")], *entries[1:]),
    )
    done = write(etc, hostile, CONTENTS | dict.fromkeys(["../x", "/etc/x", ""], CONTENTS["bin/start"]))
    assert len(done.problems) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc"]


def _named(entry, name):
    return type(entry)(name=name, executable=entry.executable, size=entry.size, sha256=entry.sha256)


def test_what_cannot_be_written_is_told_and_the_rest_is_written(etc):
    (etc / "bin/start").unlink()
    (etc / "bin/start").mkdir()
    new = CHANGED | {FARM_FILE: b"new"}
    done = write(etc, revision(2, new), new)
    assert done.problems == (f"cannot write {etc}/bin/start: it is no plain file: move it away",)
    assert done.written == (FARM_FILE,)


def test_a_full_disk_is_told_and_leaves_every_file_whole(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", tmp_path], check=False).returncode:
        pytest.skip("may not mount file systems here")
    try:
        assert write(tmp_path, FORMER, CONTENTS, former=None).problems == ()
        with pytest.raises(OSError, match="No space"):
            (tmp_path / "fill").write_bytes(b"x" * 100_000)
        (tmp_path / "bin/start").write_bytes(b"")
        new = CONTENTS | {"bin/start": b"x" * 10_000, FARM_FILE: b"y" * 10_000}
        done = write(tmp_path, revision(2, new), new)
        assert len(done.problems) == 2
        assert "No space left on device (make room on that file system)" in done.problems[0]
        assert (tmp_path / FARM_FILE).read_bytes() == CONTENTS[FARM_FILE]
        assert not list(tmp_path.rglob(".*"))
        (tmp_path / "fill").unlink()
        assert write(tmp_path, revision(2, new), new).problems == ()
        assert files(tmp_path).items() >= new.items()
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_edited_missing_and_new_files_are_found_with_their_times(etc):
    (etc / FARM_FILE).write_bytes(b"mine")
    os.utime(etc / FARM_FILE, (1_790_000_000, 1_790_000_000))
    (etc / "bin/start").unlink()
    (etc / "bin/lib/common.sh").chmod(0o755)
    script(etc / "bin/new")
    os.utime(etc / "bin/new", (1_790_000_060, 1_790_000_060))
    (etc / "bin/new~").write_bytes(b"")
    (etc / "beside").write_bytes(b"")
    found = edits(FarmDirectory(etc / FARM_FILE), FORMER)
    assert [(edit.kind, edit.name) for edit in found] == [
        ("edited", FARM_FILE),
        ("edited", "bin/lib/common.sh"),
        ("new", "bin/new"),
        ("missing", "bin/start"),
    ]
    assert found[0] == Edit(name=FARM_FILE, kind="edited", at=1_790_000_000)
    assert found[2].at == 1_790_000_060


def test_a_farm_file_that_may_be_executed_is_not_an_edit(etc):
    (etc / FARM_FILE).chmod(0o755)
    assert edited(etc) == []
    write(etc, CHANGED_REVISION, CHANGED)
    assert mode(etc / FARM_FILE) == 0o755


def test_what_cannot_be_read_is_an_edit(etc):
    (etc / "bin/start").unlink()
    os.mkfifo(etc / "bin/start")
    assert edited(etc) == [("edited", "bin/start")]


def test_what_is_read_on_one_node_and_written_on_another_is_the_same_bundle(tmp_path):
    loaded = make_farm(tmp_path / "here")
    script(tmp_path / "here/bin/lib/tool")
    bundle = read_bundle(loaded, FarmDirectory.of(loaded))
    manifest = revision(1, bundle.contents, executable=bundle.executable)
    there = make_farm(tmp_path / "there", farm_file="apache.toml")
    directory = FarmDirectory.of(there)
    assert write_revision(directory, manifest, bundle.contents, former=None).problems == ()
    assert read_bundle(there, directory) == bundle
    assert edits(directory, manifest) == ()
    assert edits(FarmDirectory.of(loaded), manifest) == ()


names = st.sampled_from(["bin/start", "bin/stop", "bin/lib/x", "start", "other/deep/y"])
states = st.dictionaries(names, st.binary(max_size=3)).map(lambda files: files | {FARM_FILE: b"x"})


@given(former=states, new=states, edits_made=st.dictionaries(names, st.binary(max_size=3) | st.none()))
def test_whatever_was_edited_the_new_revision_is_there_and_no_edit_is_lost(former, new, edits_made):
    with in_memory() as directory:
        etc = Path(directory)
        before, after = revision(1, former, executable=()), revision(2, new, executable=())
        write(etc, before, former, former=None)
        for name, content in edits_made.items():
            if content is None:
                (etc / name).unlink(missing_ok=True)
            else:
                (etc / name).parent.mkdir(parents=True, exist_ok=True)
                (etc / name).write_bytes(content)
        done = write(etc, after, new, former=before)
        assert done.problems == ()
        found = files(etc)
        assert found.items() >= new.items()
        for name, content in edits_made.items():
            if content is not None and content not in (former.get(name), new.get(name)):
                assert found[done.kept.get(name, name)] == content
        unedited = {name for name in former if name not in new and name not in edits_made}
        assert not unedited & found.keys()
        assert write(etc, after, new, former=before).written == ()


def test_a_kill_at_any_step_loses_no_edit_and_writing_again_ends_what_was_begun(memory):
    [killed] = run_killed("working_copy_killed", memory / "etc")
    assert killed > 10


class CountingDirectory(FarmDirectory):
    """Notes which files are read."""

    def __init__(self, farm_file):
        super().__init__(farm_file)
        self.were_read = []

    def read(self, name, *, most):
        self.were_read.append(name)
        return super().read(name, most=most)


def looked(directory, finder, now, current=FORMER):
    directory.were_read.clear()
    return [(edit.kind, edit.name) for edit in finder.find(current, now=now)], list(directory.were_read)


def test_only_what_has_changed_is_read_again(etc):
    directory = CountingDirectory(etc / FARM_FILE)
    finder = EditFinder(directory)
    later = time.time() + 60
    assert looked(directory, finder, later) == ([], sorted(CONTENTS))
    assert looked(directory, finder, later) == ([], [])
    (etc / "bin/start").write_bytes(CONTENTS["bin/start"].upper())
    assert looked(directory, finder, later) == ([("edited", "bin/start")], ["bin/start"])
    assert looked(directory, finder, later) == ([("edited", "bin/start")], [])
    (etc / "bin/start").chmod(0o600)
    assert looked(directory, finder, later)[1] == ["bin/start"]
    (etc / "bin/start").unlink()
    assert looked(directory, finder, later)[0] == [("missing", "bin/start")]
    # Another revision may have other content under the same name.
    assert looked(directory, finder, later, CHANGED_REVISION) == ([("missing", "bin/start")], ["bin/start"])
    (etc / "bin/start").write_bytes(CHANGED["bin/start"])
    (etc / "bin/start").chmod(0o700)
    assert looked(directory, finder, later, CHANGED_REVISION)[0] == []
    assert looked(directory, finder, later, FORMER) == ([("edited", "bin/start")], ["bin/start"])


def test_a_file_that_was_written_just_now_is_read_once_more(etc):
    directory = CountingDirectory(etc / FARM_FILE)
    finder = EditFinder(directory)
    just_now = (etc / FARM_FILE).stat().st_ctime
    assert looked(directory, finder, just_now) == ([], sorted(CONTENTS))
    assert looked(directory, finder, just_now + 60) == ([], sorted(CONTENTS))
    assert looked(directory, finder, just_now + 60) == ([], [])


def test_a_file_with_the_former_size_and_time_is_read_all_the_same(etc):
    directory = CountingDirectory(etc / FARM_FILE)
    finder = EditFinder(directory)
    later = time.time() + 60
    looked(directory, finder, later)
    before = (etc / FARM_FILE).stat()
    (etc / FARM_FILE).write_bytes(CONTENTS[FARM_FILE].upper())
    os.utime(etc / FARM_FILE, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert looked(directory, finder, later)[0] == [("edited", FARM_FILE)]
