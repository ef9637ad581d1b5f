import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier

import pytest

from hcsidecar.net.keyring import MAX_KEYS, KeyFileError, Keyring

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
EASTER = datetime(2026, 4, 5, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Keyring.create(tmp_path / "farm.key", now=NEW_YEAR).write(replace=False)
    return tmp_path / "farm.key"


def refusal_of(path: Path) -> str:
    with pytest.raises(KeyFileError) as refused:
        Keyring.load(path)
    return str(refused.value)


def test_what_is_written_is_read_back(path):
    first = Keyring.load(path)
    grown, key = first.with_new_key(now=EASTER)
    grown.write(replace=True)
    read = Keyring.load(path)
    assert read.ids == (first.active_id, key.id)
    assert read.active_id == first.active_id
    assert read.hash_seed == first.hash_seed
    assert read.keys == grown.keys


def test_a_file_is_known_again_by_its_key_ids_and_a_digest_of_its_hash_seed(path):
    keyring = Keyring.load(path)
    grown, key = keyring.with_new_key(now=EASTER)
    other = Keyring.create(path, now=NEW_YEAR)
    assert keyring.print.keys == {keyring.active_id}
    assert grown.print.keys == {keyring.active_id, key.id}
    assert grown.print.hash_seed == keyring.print.hash_seed
    assert other.print.hash_seed != keyring.print.hash_seed
    assert keyring.print.hash_seed < 2**32


def test_the_file_is_for_its_owner_only_and_names_what_is_in_it(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keyring = Keyring.load(path)
    assert f'use = "{keyring.active_id:08x}"' in path.read_text()
    assert "2026-01-01T00:00:00+00:00" in path.read_text()


def test_a_key_file_is_not_overwritten_by_another_farms(path):
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Keyring.create(path, now=EASTER).write(replace=False)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_of_many_key_files_made_at_once_one_is_the_farms_and_nobody_reads_half_of_it(tmp_path):
    path = tmp_path / "farm.key"
    together = Barrier(8)

    def make_and_read():
        keyring = Keyring.create(path, now=EASTER)
        together.wait(timeout=30)
        with suppress(FileExistsError):
            keyring.write(replace=False)
        return Keyring.load(path).active_id

    with ThreadPoolExecutor(max_workers=8) as threads:
        read = {future.result() for future in [threads.submit(make_and_read) for _ in range(8)]}

    assert read == {Keyring.load(path).active_id}
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away is root's")
def test_a_rewritten_file_keeps_its_owner(path):
    os.chown(path, 65534, 65534)
    Keyring.load(path).write(replace=True)
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65534)


def test_a_file_behind_a_link_is_rewritten_where_it_is(path):
    link = path.with_name("link.key")
    link.symlink_to(path)
    grown, _ = Keyring.load(link).with_new_key(now=EASTER)
    grown.write(replace=True)
    assert link.is_symlink()
    assert Keyring.load(path).ids == grown.ids


def test_a_rotation_leaves_the_new_key_alone_and_the_hash_seed_untouched(path):
    first = Keyring.load(path)
    added, key = first.with_new_key(now=EASTER)
    assert added.active_id == first.active_id
    used = added.using(key.id)
    assert used.active_id == key.id
    assert set(used.ids) == {first.active_id, key.id}
    dropped = used.without(first.active_id)
    assert dropped.ids == (key.id,)
    assert dropped.hash_seed == first.hash_seed


def test_the_key_in_use_is_not_dropped(path):
    keyring = Keyring.load(path)
    with pytest.raises(KeyFileError, match="key use ID"):
        keyring.without(keyring.active_id)


def test_a_key_that_is_not_there_is_neither_used_nor_dropped(path):
    keyring = Keyring.load(path)
    for change in (keyring.using, keyring.without):
        with pytest.raises(KeyFileError, match=f"has no key 00000000.*{keyring.active_id:08x}"):
            change(0)


def test_there_is_a_limit_to_keys(path):
    keyring = Keyring.load(path)
    for _ in range(MAX_KEYS - 1):
        keyring, _ = keyring.with_new_key(now=EASTER)
    with pytest.raises(KeyFileError, match="drop an old one"):
        keyring.with_new_key(now=EASTER)


def test_a_change_of_the_file_is_told_once(path):
    keyring = Keyring.load(path)
    assert not keyring.changed()
    grown, _ = keyring.with_new_key(now=EASTER)
    grown.write(replace=True)
    assert keyring.changed()
    assert not keyring.changed()
    path.unlink()
    assert keyring.changed()
    assert not keyring.changed()


def test_a_reload_takes_what_the_file_holds_now(path):
    keyring = Keyring.load(path)
    grown, key = keyring.with_new_key(now=EASTER)
    grown.using(key.id).write(replace=True)
    assert keyring.changed()
    keyring.reload()
    assert (keyring.active_id, keyring.keys) == (key.id, grown.keys)
    assert not keyring.changed()


def other_key(path):
    """Put a key file there that has nothing to do with the one before."""
    path.unlink()
    Keyring.create(path, now=EASTER).write(replace=False)


def other_seed(path):
    """Put a key file there with the same key, and the hash seed of another farm."""
    text = path.read_text()
    path.write_text(re.sub('hash_seed = "[0-9a-f]+"', f'hash_seed = "{"5a" * 32}"', text))


def rotated_at_once(path):
    """Do all three steps of a rotation before the file is copied."""
    keyring, key = Keyring.load(path).with_new_key(now=EASTER)
    old = keyring.active_id
    keyring.using(key.id).without(old).write(replace=True)


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (other_key, "has another hash seed than the one in use"),
        (other_seed, "has another hash seed than the one in use"),
        (rotated_at_once, "shares no key with the one in use"),
    ],
)
def test_another_farms_key_file_is_refused_and_the_keys_stay(path, harm, words):
    keyring = Keyring.load(path)
    seed, keys, active = keyring.hash_seed, dict(keyring.keys), keyring.active_id
    right = path.read_bytes()
    harm(path)
    assert keyring.changed()
    with pytest.raises(KeyFileError, match=words) as refused:
        keyring.reload()
    assert "copy the right one from another node" in refused.value.hint
    assert (keyring.hash_seed, dict(keyring.keys), keyring.active_id) == (seed, keys, active)
    assert not keyring.changed(), "the same wrong file is not news"
    path.write_bytes(right)
    keyring.reload()


def test_each_step_of_a_rotation_shares_a_key_with_the_one_before(path):
    running = Keyring.load(path)
    old = running.active_id
    added, key = Keyring.load(path).with_new_key(now=EASTER)
    for step in (added, added.using(key.id), added.using(key.id).without(old)):
        step.write(replace=True)
        running.reload()
    assert running.ids == (key.id,)


def test_a_reload_of_half_a_file_leaves_the_keys_as_they_are(path):
    keyring = Keyring.load(path)
    before = (keyring.active_id, keyring.keys, keyring.hash_seed)
    whole = path.read_text()
    path.write_text(whole[:100])
    assert keyring.changed()
    with pytest.raises(KeyFileError):
        keyring.reload()
    assert (keyring.active_id, keyring.keys, keyring.hash_seed) == before
    assert not keyring.changed(), "the same half file is not news"
    path.write_text(whole)
    assert keyring.changed()


def test_derived_keys_differ_by_purpose_by_info_and_by_sealing_key(path):
    keyring, key = Keyring.load(path).with_new_key(now=EASTER)
    derived = {
        keyring.derive(purpose, key_id, info)
        for purpose in ("heartbeat", "api")
        for key_id in (keyring.active_id, key.id)
        for info in (b"", b"web1", b"web2")
    }
    assert len(derived) == 12
    assert {len(secret) for secret in derived} == {32}
    assert keyring.derive("a", key.id, b"bc") != keyring.derive("ab", key.id, b"c")


def test_a_derived_key_is_the_same_wherever_the_file_is_read(path):
    one, other = Keyring.load(path), Keyring.load(path)
    assert one.derive("api", one.active_id, b"web1") == other.derive("api", one.active_id, b"web1")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o601])
def test_a_file_that_others_may_touch_is_refused(path, mode):
    path.chmod(mode)
    assert f"{mode:04o}" in refusal_of(path)


def test_what_is_no_file_is_refused_and_not_waited_for(path):
    assert "is not there" in refusal_of(path.with_name("no.key"))
    assert "is not a file" in refusal_of(path.parent)
    os.mkfifo(path.with_name("pipe.key"), mode=0o600)
    assert "is not a file" in refusal_of(path.with_name("pipe.key"))


SECRET = "5ec2e7" * 10 + "5ec2"


def key_text(**changed: str) -> str:
    values = {
        "hash_seed": f'"{SECRET}"',
        "use": '"399881ba"',
        "id": '"399881ba"',
        "added": "2026-01-01T00:00:00Z",
        "secret": f'"{SECRET}"',
    } | changed
    head = "\n".join(f"{name} = {values[name]}" for name in ("hash_seed", "use"))
    return head + "\n[[key]]\n" + "\n".join(f"{name} = {values[name]}" for name in ("id", "added", "secret")) + "\n"


def test_the_text_of_these_tests_is_a_key_file(path):
    path.write_text(key_text())
    assert Keyring.load(path).hash_seed == bytes.fromhex(SECRET)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "between 1 and 8"),
        ("hash_seed", "is not a TOML file"),
        ("x = " + "9" * 5000, "is not a TOML file"),
        ("x = " + "[" * 5000, "is not a TOML file"),
        ("#" * 20000, "too big"),
        ("key = 1", "between 1 and 8"),
        ("key = [1]", "id, added and secret"),
        (key_text() + "[[key]]\n" * 8, "between 1 and 8"),
        (key_text() + key_text()[key_text().index("[[key]]") :], "each key once"),
        (key_text() + "more = 1", "id, added and secret"),
        ("more = 1\n" + key_text(), "something unknown in it: more"),
        (key_text(use='"00000000"'), "name one of them"),
        (key_text(use="1"), "name one of them"),
        (key_text(id='"399881bb"'), "does not belong to its secret"),
        (key_text(added='"today"'), "date and time"),
        (key_text(added="2026-01-01T00:00:00"), "date and time"),
        (key_text().replace(f'secret = "{SECRET}"', 'secret = "5ec2e7"'), "64 hexadecimal digits as secret"),
        (key_text(hash_seed='"5EC2E7"'), "64 hexadecimal digits as hash_seed"),
        (key_text(hash_seed="7"), "64 hexadecimal digits as hash_seed"),
    ],
)
def test_what_is_no_key_file_is_refused_without_showing_secrets(path, text, said):
    path.write_text(text)
    refusal = refusal_of(path)
    assert said in refusal
    assert SECRET[:12] not in refusal


def test_bytes_that_are_no_text_are_refused(path):
    path.write_bytes(b"\xff\xfe")
    assert "is not a text" in refusal_of(path)


def test_a_key_does_not_show_its_secret(path):
    key = Keyring.load(path).keys[Keyring.load(path).active_id]
    assert key.secret.hex() not in repr(key)


def test_a_key_of_another_node_is_added_put_in_use_and_left_alone(path):
    first = Keyring.load(path)
    _, key = first.with_new_key(now=EASTER)
    grown = first.with_key(key)
    assert grown.ids == (first.active_id, key.id)
    assert grown.with_key(key).ids == grown.ids
    with pytest.raises(KeyFileError, match="seals with"):
        grown.only(key.id)
    alone = grown.using(key.id).only(key.id)
    assert (alone.ids, alone.active_id, alone.hash_seed) == ((key.id,), key.id, first.hash_seed)


def test_there_is_no_room_for_more_keys_of_other_nodes_either(path):
    keyring = Keyring.load(path)
    for _ in range(MAX_KEYS - 1):
        keyring, last = keyring.with_new_key(now=EASTER)
    assert keyring.with_key(last).ids == keyring.ids
    other = Keyring.create(path, now=EASTER)
    with pytest.raises(KeyFileError, match="no room for more"):
        keyring.with_key(other.keys[other.active_id])
