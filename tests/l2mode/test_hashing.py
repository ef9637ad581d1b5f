"""The keyed hash against an implementation of others, and the three ways to choose a bucket."""

import subprocess
import sys

import pytest

from l2mode.core.buckets import BUCKETS
from l2mode.core.hashing import bucket_of_address, bucket_of_datagram, bucket_of_port, siphash13

SEED = bytes(range(16))
ADDRESS = bytes([203, 0, 113, 7])


def key_of_hash_seed(number):
    """Give the key that CPython derives from PYTHONHASHSEED (Python/bootstrap_hash.c, lcg_urandom)."""
    key = bytearray()
    for _ in range(16):
        number = (number * 214013 + 2531011) & 0xFFFFFFFF
        key.append(number >> 16 & 0xFF)
    return bytes(key)


def test_the_empty_string_gives_the_published_vector():
    assert siphash13(SEED, b"").to_bytes(8, "little").hex() == "dcc40f055801acab"


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="this Python hashes otherwise")
@pytest.mark.parametrize("number", [1, 7, 12345])
def test_it_is_the_hash_that_python_itself_uses(number):
    texts = [b"a", b"1234", b"123456", b"12345678", b"0123456789abcdef", b"0123456789abcdef01"]
    program = f"print(*[hash(text) for text in {texts!r}])"
    answer = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": str(number)},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    theirs = [int(word) & (1 << 64) - 1 for word in answer.stdout.split()]
    assert [siphash13(key_of_hash_seed(number), text) for text in texts] == theirs


def test_clients_spread_evenly_over_the_buckets():
    counts = [0] * BUCKETS
    for number in range(8 * BUCKETS):
        counts[bucket_of_address(SEED, number.to_bytes(4))] += 1
    # Poisson with a mean of 8: beyond 30 is less likely than one in a million for all buckets together.
    assert max(counts) < 30
    assert counts.count(0) < 20


def test_the_port_and_the_identification_count_where_they_shall():
    assert {bucket_of_port(SEED, ADDRESS, port) for port in range(64)} > {bucket_of_port(SEED, ADDRESS, 0)}
    assert {bucket_of_datagram(SEED, ADDRESS, ip_id) for ip_id in range(64)} > {bucket_of_datagram(SEED, ADDRESS, 0)}
    assert bucket_of_port(SEED, ADDRESS, 80) == siphash13(SEED, ADDRESS + b"\0\x50") % BUCKETS


def test_another_seed_gives_another_table():
    same = sum(
        bucket_of_address(SEED, number.to_bytes(16)) == bucket_of_address(bytes(16), number.to_bytes(16))
        for number in range(1000)
    )
    assert same < 10
