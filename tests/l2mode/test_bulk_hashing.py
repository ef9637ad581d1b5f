"""Many inputs at once have the same buckets as one by one."""

from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.bulk_hashing import buckets_of
from l2mode.core.hashing import bucket_of_address, bucket_of_port

seeds = st.binary(min_size=16, max_size=16)


@given(seed=seeds, addresses=st.lists(st.binary(min_size=4, max_size=4)))
def test_ipv4_addresses_have_the_buckets_that_the_filter_gives_them(seed, addresses):
    assert buckets_of(seed, addresses) == [bucket_of_address(seed, address) for address in addresses]


@given(seed=seeds, addresses=st.lists(st.binary(min_size=16, max_size=16)))
def test_ipv6_addresses_have_the_buckets_that_the_filter_gives_them(seed, addresses):
    assert buckets_of(seed, addresses) == [bucket_of_address(seed, address) for address in addresses]


@given(
    seed=seeds,
    size=st.sampled_from([4, 16]),
    ports=st.lists(st.integers(0, 65535)),
    first=st.binary(min_size=16, max_size=16),
)
def test_addresses_with_ports_have_the_buckets_that_the_filter_gives_them(seed, size, ports, first):
    address = first[:size]
    inputs = [address + port.to_bytes(2) for port in ports]
    assert buckets_of(seed, inputs) == [bucket_of_port(seed, address, port) for port in ports]


def test_more_inputs_than_are_hashed_together_keep_their_order():
    seed = bytes(range(16))
    addresses = [number.to_bytes(4) for number in range(2500)]
    assert buckets_of(seed, addresses) == [bucket_of_address(seed, address) for address in addresses]


def test_no_inputs_have_no_buckets():
    assert buckets_of(bytes(16), []) == []
