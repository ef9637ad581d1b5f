import struct
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hcsidecar.net.keyring import Keyring
from hcsidecar.net.sealing import OVERHEAD_BYTES, DatagramOpener, DatagramSealer, Opened, OpenFailure

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
OLD_KEYS = Keyring.create(Path("farm.key"), now=NEW_YEAR)
BOTH_KEYS, NEW_KEY = OLD_KEYS.with_new_key(now=NEW_YEAR)
NEW_KEYS = BOTH_KEYS.using(NEW_KEY.id)
NODES = ("web1", "web2")

numbers = st.integers(min_value=0, max_value=2**64 - 1)


def sealer(keyring: Keyring = OLD_KEYS, farm: str = "apache", node: str = "web1", boot: int = 7) -> DatagramSealer:
    return DatagramSealer(keyring, farm, node, boot)


def opener(keyring: Keyring = OLD_KEYS, farm: str = "apache") -> DatagramOpener:
    return DatagramOpener(keyring, farm, NODES)


class CountingKeyring(Keyring):
    """A keyring that counts what is derived from it."""

    derived = 0

    def derive(self, purpose, key_id, info):
        self.derived += 1
        return super().derive(purpose, key_id, info)


def counting() -> CountingKeyring:
    return CountingKeyring(
        path=OLD_KEYS.path, hash_seed=OLD_KEYS.hash_seed, keys=OLD_KEYS.keys, active_id=OLD_KEYS.active_id
    )


def forged(datagram: bytes, *, boot: int) -> bytes:
    """Put another boot into the header of a datagram."""
    return datagram[:16] + struct.pack(">Q", boot) + datagram[24:]


@settings(deadline=None)
@given(st.sampled_from(NODES), numbers, numbers, st.binary(max_size=2000))
def test_what_is_sealed_is_opened_as_it_was(node, boot, seq, plaintext):
    datagram = sealer(node=node, boot=boot).seal(seq, plaintext)
    assert len(datagram) == len(plaintext) + OVERHEAD_BYTES
    assert opener().open(datagram) == Opened(node=node, boot=boot, seq=seq, plaintext=plaintext)


@settings(deadline=None)
@given(st.binary(max_size=200))
@example(b"HCS\x01")
def test_no_bytes_whatever_raise_or_open(garbage):
    assert isinstance(opener().open(garbage), OpenFailure)


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_nothing_behind_a_good_header_raises_or_opens(garbage):
    header = sealer().seal(1, b"")[:32]
    assert opener().open(header + garbage) in {OpenFailure.TOO_SHORT, OpenFailure.BAD_SEAL}


@settings(deadline=None)
@given(st.binary(max_size=64), st.data())
def test_any_flipped_bit_is_refused(plaintext, data):
    datagram = bytearray(sealer().seal(1, plaintext))
    bit = data.draw(st.integers(min_value=0, max_value=8 * len(datagram) - 1))
    receiver = opener()
    receiver.open(sealer().seal(0, b"makes the key known"))
    datagram[bit // 8] ^= 1 << bit % 8
    assert isinstance(receiver.open(bytes(datagram)), OpenFailure)


@settings(deadline=None)
@given(st.binary(max_size=64), st.data())
def test_any_cut_is_refused(plaintext, data):
    datagram = sealer().seal(1, plaintext)
    length = data.draw(st.integers(min_value=0, max_value=len(datagram) - 1))
    assert isinstance(opener().open(datagram[:length]), OpenFailure)


def test_each_refusal_has_its_reason():
    datagram = sealer().seal(1, b"hello")
    assert opener().open(datagram[: OVERHEAD_BYTES - 1]) is OpenFailure.TOO_SHORT
    assert opener().open(b"DNS" + datagram[3:]) is OpenFailure.NOT_OURS
    assert opener().open(datagram[:3] + b"\x02" + datagram[4:]) is OpenFailure.UNKNOWN_VERSION
    assert opener().open(sealer(node="web3").seal(1, b"hello")) is OpenFailure.UNKNOWN_NODE
    assert opener(farm="other").open(datagram) is OpenFailure.UNKNOWN_NODE
    assert opener().open(sealer(NEW_KEYS).seal(1, b"hello")) is OpenFailure.UNKNOWN_KEY
    assert opener().open(datagram[:-1] + bytes((datagram[-1] ^ 1,))) is OpenFailure.BAD_SEAL


def test_two_names_are_not_taken_for_two_others():
    datagram = sealer(farm="ab", node="c").seal(1, b"hello")
    assert DatagramOpener(OLD_KEYS, "a", ["bc"]).open(datagram) is OpenFailure.UNKNOWN_NODE


@pytest.mark.parametrize("seq", [5, 4])
def test_a_sequence_that_does_not_grow_is_never_sealed(seq):
    sender = sealer()
    sender.seal(5, b"first")
    with pytest.raises(ValueError, match="a nonce would be used twice"):
        sender.seal(seq, b"second")


def test_the_same_words_are_sealed_differently_by_each_boot_and_each_node():
    sealed = {sealer(node=node, boot=boot).seal(1, b"hello")[32:] for node in NODES for boot in (1, 2)}
    assert len(sealed) == 4


@settings(deadline=None)
@given(st.sampled_from([OLD_KEYS, BOTH_KEYS, NEW_KEYS]), st.sampled_from([BOTH_KEYS, NEW_KEYS]))
def test_whoever_holds_both_keys_opens_what_is_sealed_with_either(sending, receiving):
    assert isinstance(opener(receiving).open(sealer(sending).seal(1, b"hello")), Opened)


def test_a_rotation_under_way_loses_no_datagram():
    ring = OLD_KEYS.with_new_key(now=NEW_YEAR)[0]
    old, new = ring.ids
    senders = [sealer(ring, node=node) for node in NODES]
    receiver = opener(ring)
    seq = 0
    for active, ids in ((old, (old, new)), (new, (old, new)), (new, (new,))):
        ring.keys = {key_id: ring.keys[key_id] for key_id in ids}
        ring.active_id = active
        for follower in (*senders, receiver):
            seq += 1
            follower.follow_keys()
            for sender in senders:
                seq += 1
                opened = receiver.open(sender.seal(seq, b"hello"))
                assert isinstance(opened, Opened) or (opened is OpenFailure.UNKNOWN_KEY and ids == (new,))
    assert isinstance(receiver.open(senders[0].seal(seq + 1, b"hello")), Opened)


def test_a_key_that_was_dropped_opens_nothing_any_more():
    ring = OLD_KEYS.with_new_key(now=NEW_YEAR)[0]
    receiver = opener(ring)
    sender = sealer(OLD_KEYS)
    assert isinstance(receiver.open(sender.seal(1, b"hello")), Opened)
    ring.active_id = next(key_id for key_id in ring.ids if key_id != OLD_KEYS.active_id)
    ring.keys = ring.without(OLD_KEYS.active_id).keys
    receiver.follow_keys()
    assert receiver.open(sender.seal(2, b"hello")) is OpenFailure.UNKNOWN_KEY


def test_a_boot_costs_one_derivation_however_many_datagrams_it_sends():
    keyring = counting()
    receiver = opener(keyring)
    for boot in (7, 8):
        sender = sealer(boot=boot)
        for seq in range(50):
            assert isinstance(receiver.open(sender.seal(seq, b"hello")), Opened)
    assert keyring.derived == 2


def test_forged_boots_do_not_push_out_the_key_that_has_opened():
    keyring = counting()
    receiver = opener(keyring)
    sender = sealer()
    receiver.open(sender.seal(0, b"hello"))
    for seq in range(1, 100):
        datagram = sender.seal(seq, b"hello")
        assert receiver.open(forged(datagram, boot=1000 + seq)) is OpenFailure.BAD_SEAL
        assert isinstance(receiver.open(datagram), Opened)
    assert keyring.derived == 1 + 99, "one for the sender, at most one for each forgery"


def test_replays_of_an_earlier_boot_do_not_push_out_the_present_one():
    keyring = counting()
    receiver = opener(keyring)
    replayed = sealer(boot=6).seal(1, b"old")
    sender = sealer(boot=7)
    receiver.open(sender.seal(0, b"hello"))
    for seq in range(1, 50):
        assert receiver.open(replayed) == Opened(node="web1", boot=6, seq=1, plaintext=b"old")
        assert isinstance(receiver.open(sender.seal(seq, b"hello")), Opened)
    assert keyring.derived == 2


def test_a_new_boot_and_replays_of_the_one_before_are_both_opened_from_memory():
    keyring = counting()
    receiver = opener(keyring)
    before, after = sealer(boot=7), sealer(boot=8)
    for seq in range(50):
        assert isinstance(receiver.open(before.seal(seq, b"hello")), Opened)
        assert isinstance(receiver.open(after.seal(seq, b"hello")), Opened)
    assert keyring.derived == 2


def test_what_names_no_key_or_no_node_of_ours_costs_no_derivation():
    keyring = counting()
    receiver = opener(keyring)
    for datagram in (sealer(NEW_KEYS).seal(1, b"x"), sealer(node="web9").seal(1, b"x"), b"", bytes(500)):
        receiver.open(datagram)
    assert keyring.derived == 0


def test_a_flood_of_forgeries_does_not_fill_the_memory():
    receiver = opener()
    datagram = sealer().seal(1, b"hello")

    def flood() -> int:
        for boot in range(2000):
            receiver.open(forged(datagram, boot=boot + 100))
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        first = flood()
        assert flood() - first < 10_000
    finally:
        tracemalloc.stop()
