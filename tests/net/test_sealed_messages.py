"""Messages between nodes that eavesdroppers must not read."""

from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.net.keyring import Keyring
from hcsidecar.net.sealed_messages import MessageSealer

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def keyring(tmp_path):
    return Keyring.create(tmp_path / "farm.key", now=NOON)


def sealer(keys, *, farm="apache", purpose="access"):
    return MessageSealer(lambda: keys, farm=farm, purpose=purpose)


def test_what_one_node_seals_another_opens_and_nobody_reads_it_on_the_way(tmp_path):
    keys = keyring(tmp_path)
    message = sealer(keys).seal(b"a secret")
    assert b"secret" not in message
    assert sealer(keys).open(message) == b"a secret"
    assert sealer(keys).seal(b"a secret") != message


def test_another_farm_another_purpose_another_key_and_a_changed_byte_open_nothing(tmp_path):
    keys = keyring(tmp_path)
    message = sealer(keys).seal(b"a secret")
    assert sealer(keys, farm="other").open(message) is None
    assert sealer(keys, purpose="other").open(message) is None
    assert sealer(keyring(tmp_path)).open(message) is None
    for place in range(len(message)):
        changed = bytearray(message)
        changed[place] ^= 1
        assert sealer(keys).open(bytes(changed)) is None


def test_a_message_of_a_former_key_is_opened_during_a_rotation(tmp_path):
    keys = keyring(tmp_path)
    message = sealer(keys).seal(b"a secret")
    rotated, added = keys.with_new_key(now=NOON)
    assert sealer(rotated.using(added.id)).open(message) == b"a secret"


@given(st.binary(max_size=80))
def test_no_bytes_raise(content):
    assert sealer(Keyring.create(Path("/nonexistent/farm.key"), now=NOON)).open(content) is None
