"""The record of users and tokens on disk."""

import stat

import pytest

from hcsidecar.access.store import AccessStore, AccessStoreError
from hcsidecar.core.access.changes import add_user
from hcsidecar.core.access.record import AccessRecord
from hcsidecar.core.access.roles import AccessRole

HASH = "$argon2id$v=19$m=19456,t=2,p=1$" + "s" * 22 + "$" + "h" * 43
ALICE = add_user(AccessRecord(), "alice", AccessRole.ADMIN, HASH, node="web1", now=0).delta


def test_what_was_saved_is_loaded_and_only_its_owner_may_read_the_file(tmp_path):
    store = AccessStore(tmp_path / "missing" / "web1")
    assert store.load() is None
    store.save(ALICE)
    assert store.load() == ALICE
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"{}x", b'{"users":7}', b"\xff" * 20, b" " * 3_000_000])
def test_a_damaged_file_is_told_and_can_be_set_aside(tmp_path, content):
    store = AccessStore(tmp_path)
    store.path.write_bytes(content)
    with pytest.raises(AccessStoreError, match="is damaged: "):
        store.load()
    store.set_aside()
    assert store.load() is None
    assert (tmp_path / "access.json.damaged").read_bytes() == content


def test_a_file_that_cannot_be_read_written_or_renamed_is_told(tmp_path):
    store = AccessStore(tmp_path)
    store.path.mkdir()
    (store.path / "in the way").touch()
    with pytest.raises(AccessStoreError, match="cannot be read: Is a directory"):
        store.load()
    with pytest.raises(AccessStoreError, match="cannot be written: Is a directory"):
        store.save(ALICE)
    with pytest.raises(AccessStoreError, match="cannot be renamed"):
        AccessStore(tmp_path / "nowhere").set_aside()
