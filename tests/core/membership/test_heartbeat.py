"""The heartbeat's wire form: what is sent is what arrives, and no bytes from the network raise or pass for more."""

import zlib

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_farm import heartbeat

from hcsidecar.core.membership.heartbeat import MAX_NODES, MAX_POWER, Heartbeat, decode, encode, is_within

names = st.text(min_size=1, max_size=63)
numbers = st.integers(0, 2**63 - 1)
powers = st.lists(st.integers(0, MAX_POWER), min_size=1, max_size=64).map(tuple)


@st.composite
def heartbeats(draw):
    heard = draw(st.lists(st.tuples(names, numbers, numbers), max_size=MAX_NODES))
    return Heartbeat(
        farm=draw(names),
        node=draw(names),
        boot=draw(numbers),
        seq=draw(numbers),
        role=draw(st.sampled_from(("STOP", "WAIT", "UP"))),
        status=draw(st.sampled_from(("NotReady", "Transient", "Ready"))),
        draining=draw(st.booleans()),
        reason=draw(st.text(max_size=200)),
        wants=draw(st.booleans()),
        powers=draw(powers),
        settings_digest=draw(st.binary(max_size=32)),
        view=draw(st.lists(st.tuples(names, powers), max_size=4).map(tuple)),
        holding=draw(st.booleans()),
        dirty=draw(st.booleans()),
        dirty_buckets=draw(st.binary(max_size=512)),
        ask=draw(st.booleans()),
        leave=draw(st.booleans()),
        mac=draw(st.binary(max_size=6)),
        counters=draw(st.lists(numbers, max_size=8).map(tuple)),
        heard_boots=tuple((name, boot) for name, boot, _ in heard),
        heard_seqs=tuple(seq for _, _, seq in heard),
    )


@given(heartbeats())
def test_what_is_encoded_is_decoded(sent):
    assert decode(encode(sent)) == sent


@given(st.binary(max_size=2000))
def test_arbitrary_bytes_never_raise(received):
    assert decode(received) is None or isinstance(decode(received), Heartbeat)


def hold_damaged(sent, place, byte):
    plaintext = bytearray(encode(sent))
    plaintext[place % len(plaintext)] ^= byte
    received = decode(bytes(plaintext))
    if received is not None:
        assert len(received.heard_boots) == len(received.heard_seqs) <= MAX_NODES
        assert decode(encode(received)) == received


@given(heartbeats(), st.integers(0, 10_000), st.integers(1, 255))
def test_a_damaged_heartbeat_is_refused_or_still_within_the_limits(sent, place, byte):
    hold_damaged(sent, place, byte)


@pytest.mark.parametrize(
    "changes",
    [
        {"boot": -1},
        {"seq": 2**63},
        {"node": ""},
        {"node": "x" * 64},
        {"powers": ()},
        {"powers": (-1,)},
        {"powers": (MAX_POWER + 1,)},
        {"powers": (1,) * 65},
        {"view": tuple((f"web{number}", (1,)) for number in range(MAX_NODES + 1))},
        {"reason": "x" * 201},
        {"settings_digest": bytes(33)},
        {"mac": bytes(7)},
        {"counters": (0,) * 9},
        {"heard_seqs": (1,)},
        {"heard_boots": (("web2", 1),)},
        {"leave": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_out_of_limits_is_no_heartbeat(changes):
    assert decode(encode(heartbeat())) is not None
    assert decode(encode(msgspec.structs.replace(heartbeat(), **changes))) is None


def test_a_large_heartbeat_is_compressed():
    names = [f"webserver-{number:02}" for number in range(MAX_NODES)]
    sent = heartbeat(view=tuple((name, (1, 1)) for name in names), heard=[(name, 2**40, 5) for name in names])
    assert len(encode(sent)) < len(msgspec.msgpack.encode(sent)) / 2
    assert decode(encode(sent)) == sent


def test_what_is_blown_up_beyond_measure_is_no_heartbeat():
    sent = msgspec.msgpack.encode(heartbeat())
    assert decode(zlib.compress(sent)) is not None
    assert decode(zlib.compress(sent + bytes(10**7))) is None
    assert decode(zlib.compress(sent)[:-1]) is None
    assert decode(zlib.compress(sent) + b"x") is None
    assert decode(zlib.compress(zlib.compress(sent))) is None


def test_deep_nesting_is_no_heartbeat():
    assert decode(b"\x91" * 100_000) is None


@pytest.mark.soak
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.binary(max_size=600),
    heartbeats(),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=10, max_size=10),
)
def test_a_million_hostile_plaintexts_never_raise(received, sent, damages):
    decode(received)
    for place, byte in damages:
        hold_damaged(sent, place, byte)


@pytest.mark.parametrize(
    ("some", "others", "within"),
    [
        (b"", b"", True),
        (b"\x01", b"", True),
        (b"", b"\x01", False),
        (b"\x01", b"\x03", True),
        (b"\x02", b"\x03\x01", True),
        (b"\x03", b"\x01", False),
        (b"\x01\x01", b"\x01", False),
    ],
)
def test_buckets_are_within_others_and_none_named_means_all(some, others, within):
    assert is_within(some, others) is within
