"""Who owns which bucket: shares by power, the least movement, and the same answer on every machine."""

import hashlib
import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.buckets import (
    BUCKETS,
    OUTWEIGHS,
    _cost,
    _unweighted,
    director_among,
    mask_of,
    masks,
    owners,
    prepare,
    takers,
)

names = st.text(min_size=1, max_size=8)
powers = st.integers(0, 1000)
farms = st.dictionaries(names, powers, max_size=12)
farms_without_standby = st.dictionaries(names, st.integers(0, OUTWEIGHS - 1), max_size=12)
counts = st.sampled_from([1, 64, 512])


def digest(answer):
    return hashlib.blake2b("\n".join(str(owner) for owner in answer).encode(), digest_size=8).hexdigest()


def test_versions_agree_on_the_owners():
    """Pinned: nodes of two versions must agree; a change here is a change of the protocol's version."""
    three = {"web1": 1, "web2": 2, "web3": 1}
    assert owners(three)[:8] == ("web2", "web2", "web2", "web1", "web2", "web3", "web1", "web2")
    assert digest(owners(three)) == "0b71a0823d9b05b4"
    assert digest(owners({f"node{index:02}": index for index in range(64)})) == "ea99cb9be2cdb3c1"
    directors = [director_among(three, f"192.0.2.{host}".encode()) for host in range(50, 56)]
    assert directors == ["web1", "web2", "web1", "web3", "web3", "web3"]


@given(farms, counts, st.randoms())
def test_the_order_of_members_is_irrelevant(farm, count, random):
    shuffled = list(farm.items())
    random.shuffle(shuffled)
    assert owners(dict(shuffled), count) == owners(farm, count)


@given(farms, counts)
def test_every_bucket_has_one_owner_if_anybody_has_power(farm, count):
    answer = owners(farm, count)
    assert len(answer) == count
    if any(farm.values()):
        assert all(farm[owner] > 0 for owner in answer)
    else:
        assert set(answer) == {None}


@given(farms, counts)
def test_masks_say_the_same_as_owners(farm, count):
    answer = owners(farm, count)
    shares = masks(farm, count)
    assert set(shares) == set(farm)
    for name, mask in shares.items():
        assert mask == sum(1 << bucket for bucket, owner in enumerate(answer) if owner == name)
        assert mask_of(name, farm, count) == mask
    assert mask_of("a name that is too long for this farm", farm, count) == 0


@given(farms_without_standby.filter(bool), counts, st.randoms())
def test_only_the_leavers_buckets_move(farm, count, random):
    leaver = random.choice(sorted(farm))
    before = owners(farm, count)
    after = owners({name: power for name, power in farm.items() if name != leaver}, count)
    for one, other in zip(before, after, strict=True):
        assert one in (leaver, other)


@given(farms.filter(bool), counts, st.randoms())
def test_beside_the_leavers_only_those_buckets_move_that_one_who_stood_by_takes(farm, count, random):
    leaver = random.choice(sorted(farm))
    before = owners(farm, count)
    after = owners({name: power for name, power in farm.items() if name != leaver}, count)
    stood_by = set(farm) - set(takers(farm))
    for one, other in zip(before, after, strict=True):
        assert one in (leaver, other) or other in stood_by


@given(farms.filter(bool), counts, st.randoms(), st.integers(1, 1000))
def test_more_power_takes_buckets_and_gives_none_but_from_who_stands_by_now(farm, count, random, more):
    name = random.choice(sorted(farm))
    before = owners(farm, count)
    changed = farm | {name: farm[name] + more}
    for one, other in zip(before, owners(changed, count), strict=True):
        assert other in (one, name) or one not in takers(changed)


@given(farms, st.integers(2, 50))
def test_only_the_ratio_of_powers_counts(farm, factor):
    """Up to the last bit of a cost: one bucket in a million may differ, so none here."""
    assert owners(farm, 512) == owners({name: power * factor for name, power in farm.items()}, 512)


@pytest.mark.parametrize("size", [2, 3, 5, 16, 64])
def test_equal_powers_get_equal_shares(size):
    """A share is binomial: its deviation is the root of n p (1 - p); 4.5 of these, one in 100,000, are allowed."""
    farm = {f"node{index:02}": 1 for index in range(size)}
    expected = BUCKETS / size
    limit = 4.5 * math.sqrt(expected * (1 - 1 / size))
    for held in Counter(owners(farm)).values():
        assert abs(held - expected) < limit


@pytest.mark.parametrize(
    "farm",
    [{"a": 1, "b": 2}, {"a": 1, "b": 9, "c": 60}, {"a": 3, "b": 4, "c": 5, "d": 0}, {"a": 1000, "b": 1001}],
)
def test_shares_follow_the_powers(farm):
    held = Counter(owners(farm))
    for name, power in farm.items():
        share = power / sum(farm.values())
        assert abs(held[name] - BUCKETS * share) <= 4.5 * math.sqrt(BUCKETS * share * (1 - share))


def test_shares_follow_the_powers_over_many_buckets():
    """A bias of the integer logarithm would show where chance has averaged out: 1 % of a share of 2/5 here."""
    farm = {"a": 1, "b": 2, "c": 2}
    held = Counter(owners(farm, 1 << 18))
    assert held["a"] == pytest.approx((1 << 18) / 5, rel=0.01)
    assert held["b"] == pytest.approx((1 << 18) * 2 / 5, rel=0.01)


@given(st.integers(0, 2**64 - 1))
def test_a_cost_is_the_logarithm(number):
    assert _cost(number) / 2**48 == pytest.approx(64 - math.log2(number + 1), abs=4e-6)


@given(st.integers(0, 2**64 - 2))
def test_a_higher_number_never_costs_more(number):
    assert _cost(number + 1) <= _cost(number)


def test_the_ends_of_the_logarithm_are_exact():
    assert _cost(0) == 64 << 48
    assert _cost(2**63 - 1) == 1 << 48
    assert _cost(2**64 - 1) == 0


def test_every_member_is_the_director_of_as_many_virtual_ips_as_another():
    held = Counter(director_among(("a", "b"), str(vip).encode()) for vip in range(4000))
    assert held["a"] == pytest.approx(2000, abs=130)


def test_nobody_is_the_director_of_a_farm_without_members():
    assert director_among((), b"\xc0\x00\x02\x32") is None


def test_nobody_has_power_and_nobody_is_there():
    assert owners({}, 4) == (None,) * 4
    assert masks({"a": 0}, 4) == {"a": 0}


def test_more_members_than_a_farm_may_have_are_refused():
    with pytest.raises(ValueError, match="65 members"):
        owners({f"node{index}": 1 for index in range(65)})


def test_of_members_that_were_prepared_nothing_is_drawn_when_the_view_changes():
    farm = {f"prepared{index:02}": 1 for index in range(64)}
    prepare(farm)
    drawn = _unweighted.cache_info().misses
    masks(farm)
    masks({name: power for name, power in farm.items() if name != "prepared07"})
    assert _unweighted.cache_info().misses == drawn


@pytest.mark.parametrize(
    ("farm", "serving"),
    [
        ({"a": 64, "b": 1}, {"a"}),
        ({"a": 63, "b": 1}, {"a", "b"}),
        ({"a": 4096, "b": 64, "c": 1}, {"a"}),
        ({"b": 64, "c": 1}, {"b"}),
        ({"c": 1}, {"c"}),
        ({"a": 64, "b": 64, "c": 1}, {"a", "b"}),
        ({"a": 1_000_000, "b": 1}, {"a"}),
        ({"a": 0, "b": 1}, {"b"}),
    ],
)
def test_powers_make_a_chain_in_which_the_outweighed_stand_by(farm, serving):
    assert set(owners(farm)) == serving
    assert set(takers(farm)) == serving


def test_in_a_chain_all_buckets_go_to_the_next_and_none_of_it_is_by_chance():
    names = [f"node{number}" for number in range(200)]
    assert all(set(owners({name: 64, other: 1})) == {name} for name, other in pairwise(names))
