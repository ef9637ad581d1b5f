"""The store: a revision is there as a whole or not at all, and what is damaged is told."""

import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from settings.killing import run_killed
from settings.memory import in_memory
from settings.revisions import CONTENTS, Record, revision

from hcsidecar.core.settings.revision import FARM_FILE, BundleError, RevisionId, bundle_problems
from hcsidecar.settings.store import KEPT, KEPT_MANIFESTS, NotReadable, RevisionStore, StoredRevision, StoreError
from hcsidecar.settings.unpacking import unpack


def why(found):
    assert isinstance(found, NotReadable), found
    return found.why


def place(store, manifest):
    return store.directory / f"{manifest.number}-{manifest.id.digest[:8]}"


@pytest.fixture
def store(memory):
    return RevisionStore(memory / "state/settings")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", disk], check=False).returncode:
        pytest.skip("may not mount file systems here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_stored_revision_is_read_as_it_was(store):
    store.save(revision(), CONTENTS)
    found = RevisionStore(store.directory).load(revision().id)
    assert isinstance(found, StoredRevision)
    assert (found.manifest, found.contents) == (revision(), CONTENTS)
    assert (found.directory / "bin/start").read_bytes() == CONTENTS["bin/start"]


def test_everything_is_private_and_scripts_may_be_executed_whatever_the_umask(store):
    before = os.umask(0)
    try:
        store.save(revision(), CONTENTS)
        store.save_record(Record(revision().id))
    finally:
        os.umask(before)
    modes = {
        path.relative_to(store.directory).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in [store.directory, *store.directory.rglob("*")]
    }
    top = place(store, revision()).name
    assert modes == {
        ".": 0o700,
        "current.json": 0o600,
        top: 0o700,
        f"{top}/manifest.json": 0o600,
        f"{top}/files": 0o700,
        f"{top}/files/{FARM_FILE}": 0o600,
        f"{top}/files/bin": 0o700,
        f"{top}/files/bin/start": 0o700,
        f"{top}/files/bin/lib": 0o700,
        f"{top}/files/bin/lib/common.sh": 0o600,
    }


def test_a_directory_that_others_could_write_is_closed(tmp_path):
    (tmp_path / "settings").mkdir(mode=0o777)
    (tmp_path / "settings").chmod(0o777)
    assert stat.S_IMODE(RevisionStore(tmp_path / "settings").directory.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_directory_of_another_user_is_refused(tmp_path):
    (tmp_path / "settings").mkdir()
    os.chown(tmp_path / "settings", 12345, -1)
    with pytest.raises(StoreError, match=r"settings: it belongs to another user \(uid 12345\): chown it"):
        RevisionStore(tmp_path / "settings")


def test_what_is_not_there_is_told(store):
    assert why(store.load(revision().id)) == f"{revision().id} is not stored in {store.directory}"
    assert store.load_record(Record) is None


def test_other_files_than_those_of_the_manifest_are_not_stored(store):
    with pytest.raises(BundleError) as refused:
        store.save(revision(), {FARM_FILE: b"[FARM]\n", "bin/start": b""})
    assert refused.value.problems == (
        "bin/lib/common.sh is missing",
        "bin/start has 0 bytes instead of 10",
        f"{FARM_FILE} has other content than the manifest says",
    )
    assert list(store.directory.iterdir()) == []


def damage_content(top):
    (top / "files/bin/start").write_bytes(b"#!/bin/rm\n")


def damage_length(top):
    with (top / "files/bin/start").open("ab") as file:
        file.truncate(1 << 40)


def damage_mode(top):
    (top / "files/bin/start").chmod(0o600)


def damage_by_loss(top):
    (top / "files/bin/start").unlink()


def damage_manifest(top):
    (top / "manifest.json").write_bytes(b"\0" * 100)


def damage_manifest_by_loss(top):
    (top / "manifest.json").unlink()


def damage_by_pipe(top):
    damage_by_loss(top)
    os.mkfifo(top / "files/bin/start")


def damage_by_directory(top):
    damage_by_loss(top)
    (top / "files/bin/start").mkdir()


def damage_by_file(top):
    shutil.rmtree(top)
    top.write_bytes(b"")


def damage_by_loop(top):
    damage_by_loss(top)
    (top / "files/bin/start").symlink_to("start")


def damage_by_other_revision(top):
    (top / "manifest.json").write_bytes(revision(2).encoded())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_content, "bin/start has other content than the manifest says"),
        (damage_length, "bin/start has 11 bytes instead of 10"),
        (damage_mode, "bin/start is not executable, and should be otherwise"),
        (damage_by_loss, "files/bin/start is missing"),
        (damage_manifest, "this is not a manifest"),
        (damage_manifest_by_loss, "manifest.json is missing"),
        (damage_by_pipe, "it is no plain file"),
        (damage_by_directory, "it is no plain file"),
        (damage_by_file, "Not a directory"),
        (damage_by_loop, "Too many levels of symbolic links"),
        (damage_by_other_revision, "is of another revision"),
    ],
)
def test_damage_is_told_with_the_path_and_mended_by_storing_again(store, damage, said):
    store.save(revision(), CONTENTS)
    damage(place(store, revision()))
    told = why(store.load(revision().id))
    assert said in told
    assert os.fspath(place(store, revision())) in told
    store.save(revision(), CONTENTS)
    assert isinstance(store.load(revision().id), StoredRevision)
    assert [path.name for path in store.directory.iterdir()] == [place(store, revision()).name]


def test_damaged_manifests_are_told_and_the_others_listed(store):
    for number in (1, 2, 3):
        store.save(revision(number), CONTENTS)
    damage_manifest(place(store, revision(2)))
    (store.directory / "notes").write_text("of the operator")
    found = store.manifests()
    assert [manifest.number for manifest in found.manifests] == [3, 1]
    [problem] = found.problems
    assert problem.startswith(f"{place(store, revision(2))}/manifest.json is damaged")


def test_the_files_of_the_latest_five_and_of_needed_ones_are_kept_and_a_hundred_manifests(store):
    manifests = [revision(number) for number in range(1, KEPT_MANIFESTS + 11)]
    for manifest in manifests:
        store.save(manifest, CONTENTS)
    store.prune([manifests[0].id, manifests[50].id])
    found = store.manifests()
    assert found.problems == ()
    assert found.with_files == {manifest.id for manifest in [manifests[0], manifests[50], *manifests[-KEPT:]]}
    assert list(found.manifests) == [*reversed(manifests[-KEPT_MANIFESTS:]), manifests[0]]
    assert "its files are not kept any more" in why(store.load(manifests[60].id))
    store.save(manifests[60], CONTENTS)
    assert isinstance(store.load(manifests[60].id), StoredRevision)


def test_an_aborted_revision_leaves_nothing(store):
    store.save(revision(), CONTENTS)
    store.remove(revision().id)
    store.remove(revision().id)
    assert list(store.directory.iterdir()) == []


def test_two_revisions_of_one_number_are_both_kept(store):
    others = [revision(2, message="here"), revision(2, message="there")]
    for manifest in others:
        store.save(manifest, CONTENTS)
    assert all(isinstance(store.load(manifest.id), StoredRevision) for manifest in others)


def test_the_record_is_replaced_as_a_whole_and_damage_is_told(store):
    store.save_record(Record(revision().id))
    store.save_record(Record(revision(2).id, confirmed=True))
    assert store.load_record(Record) == Record(revision(2).id, confirmed=True)
    for content in (b"", b"{", b"[" * 100_000, b'{"current": 1}', b"x" * 2_000_000):
        (store.directory / "current.json").write_bytes(content)
        assert why(store.load_record(Record)).startswith(f"{store.directory}/current.json is damaged")
    (store.directory / "current.json").unlink()
    os.mkfifo(store.directory / "current.json")
    assert "it is no plain file" in why(store.load_record(Record))


def test_what_a_crash_has_left_is_removed_at_the_next_start(store):
    (store.directory / ".unfinished-x/new/files").mkdir(parents=True)
    RevisionStore(store.directory)
    assert list(store.directory.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_what_was_there(small_disk):
    store = RevisionStore(small_disk / "settings")
    store.save(revision(), CONTENTS)
    store.save_record(Record(revision().id))
    big = CONTENTS | {"bin/big": random.Random(1).randbytes(100_000)}
    with pytest.raises(StoreError, match=r"settings/2-.*: No space left on device \(make room on that file system\)"):
        store.save(revision(2, big), big)
    with pytest.raises(OSError, match="No space"):
        (small_disk / "fill").write_bytes(b"x" * 100_000)
    with pytest.raises(StoreError, match=r"current\.json: No space left"):
        store.save_record(Record(revision(2).id))
    with pytest.raises(StoreError, match="No space left"):
        store.save(revision(3), CONTENTS)
    again = RevisionStore(store.directory)
    assert again.load_record(Record) == Record(revision().id)
    assert [manifest.id for manifest in again.manifests().manifests] == [revision().id]
    assert isinstance(again.load(revision().id), StoredRevision)
    (small_disk / "fill").unlink()
    again.save(revision(3), CONTENTS)


def test_a_disk_that_is_mounted_read_only_is_read_and_told_when_it_is_written(small_disk):
    store = RevisionStore(small_disk / "settings")
    store.save(revision(), CONTENTS)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    again = RevisionStore(store.directory)
    assert isinstance(again.load(revision().id), StoredRevision)
    for refused in (
        lambda: again.save(revision(2), CONTENTS),
        lambda: again.save_record(Record(revision().id)),
        lambda: again.remove(revision().id),
    ):
        with pytest.raises(StoreError, match=r"Read-only file system \(mount that file system writable\)"):
            refused()
    with pytest.raises(StoreError, match=r"cannot keep settings in .*/new/settings: Read-only"):
        RevisionStore(small_disk / "new/settings")


def test_a_file_where_the_directory_should_be_is_told(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreError, match="a file is where a directory is needed: move it away"):
        RevisionStore(tmp_path / "state/settings")


def test_a_directory_that_goes_while_the_daemon_runs_is_told(store):
    shutil.rmtree(store.directory)
    with pytest.raises(StoreError, match="make the directory that it is to be in"):
        store.save(revision(), CONTENTS)
    with pytest.raises(StoreError, match="make the directory"):
        store.save_record(Record(revision().id))
    assert "is not stored" in why(store.load(revision().id))
    [problem] = store.manifests().problems
    assert problem.startswith(f"cannot read {store.directory}: No such file")


components = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=90)
names = st.lists(components, min_size=1, max_size=3).map("/".join)
bundles = st.dictionaries(names, st.binary(max_size=200), max_size=6).map(lambda files: files | {FARM_FILE: b"x"})


@given(bundles.filter(lambda files: not list(bundle_problems(dict.fromkeys(files, 0)))), st.data())
def test_whatever_names_and_contents_a_manifest_has_they_are_read_as_they_were(contents, data):
    executable = data.draw(st.sets(st.sampled_from(sorted(contents))))
    manifest = revision(1, contents, executable=executable)
    with in_memory() as directory:
        store = RevisionStore(Path(directory) / "settings")
        store.save(manifest, contents)
        found = store.load(manifest.id)
        assert isinstance(found, StoredRevision), found
        assert (found.manifest, found.contents) == (manifest, contents)
        unpack(manifest, contents, Path(directory) / "elsewhere")


def test_a_kill_at_any_step_of_a_save_leaves_the_old_or_the_new_and_nothing_else(memory):
    killed, with_old, with_new = run_killed("store_killed", memory / "settings")
    assert killed > 20
    assert with_old > 5
    assert with_new > 5


def test_two_revisions_with_one_directory_are_told_apart(store):
    store.save(revision(1), CONTENTS)
    digest = revision(1).id.digest
    other = RevisionId(1, digest[:8] + "0" * 56)
    assert why(store.load(other)) == f"{place(store, revision(1))} is of another revision: {digest}"


def test_notices_of_removed_nodes_outlive_the_daemon_and_what_is_no_notice_is_left_out(store):
    store.save_removal("web3", b"notice")
    store.save_removal("web.4", b"another")
    store.save_removal("web3", b"later")
    (store.directory / "removed-.json").write_bytes(b"no name")
    (store.directory / "removed-web5.json").mkdir()
    assert RevisionStore(store.directory).removals() == {"web3": b"later", "web.4": b"another"}
