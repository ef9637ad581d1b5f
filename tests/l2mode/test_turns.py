"""Which packets a late judge may take: those that every table in force since they came takes."""

import struct
from ipaddress import ip_address

import pytest

from l2mode.core.buckets import BUCKETS
from l2mode.core.hashing import bucket_of_address
from l2mode.core.settings import LayerTwoSettings, Protocol, ShareGroup
from l2mode.core.tables import Tables
from l2mode.core.turns import Turns
from l2mode.core.verdict import Delivery

VIP = ip_address("192.0.2.50")
SEED = bytes(range(16))
ME, WEB2 = 0, 1
OWN, VIRTUAL, ROUTER = (bytes.fromhex(mac) for mac in ("025500000001", "0a1122334455", "00005e000101"))
STAYS, MOVES = ip_address("203.0.113.7").packed, ip_address("203.0.113.8").packed
"Two clients in different buckets."


def syn(client):
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + client + VIP.packed
    return VIRTUAL + ROUTER + b"\x08\x00" + header + struct.pack("!HHIIBBHHH", 40000, 80, 1, 0, 0x50, 2, 1000, 0, 0)


class Bucketful:
    """Tables in which all is mine but the bucket of the client that moves."""

    def __init__(self, *, moves=WEB2):
        self.tables = Tables(bytearray(Tables.SIZE))
        self.tables.configure(
            LayerTwoSettings(
                farm="apache",
                me="web1",
                nodes=("web1", "web2"),
                vips=(VIP,),
                groups=(ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80,)),),
                seed=SEED,
                delivery=Delivery.FLOODED,
            ),
            VIRTUAL,
        )
        self.tables.set_macs(OWN, {})
        self.give(moves)

    def give(self, owner):
        cells = bytearray([ME]) * BUCKETS
        cells[bucket_of_address(SEED, MOVES)] = owner
        self.tables.swap([bytes(cells)], [ME])


def turns(farm):
    return Turns(farm.tables, longest_wait=0.1, now=100.0)


def test_whoever_stays_is_taken_whenever_he_came():
    farm = Bucketful()
    seen = turns(farm)
    farm.give(ME)
    assert seen.took_since(100.02, syn(STAYS), now=100.05)
    assert seen.took_since(100.06, syn(STAYS), now=100.07)


def test_whoever_came_before_his_bucket_did_is_left_to_whoever_had_it():
    farm = Bucketful()
    seen = turns(farm)
    farm.give(ME)
    assert not seen.took_since(100.02, syn(MOVES), now=100.05)
    assert not seen.took_since(100.04, syn(MOVES), now=100.06)


def test_whoever_came_after_the_swap_was_noticed_is_taken():
    farm = Bucketful()
    seen = turns(farm)
    farm.give(ME)
    seen.look(now=100.05)
    assert seen.took_since(100.051, syn(MOVES), now=100.06)


def test_whoever_came_a_millisecond_before_it_was_noticed_is_no_older_than_the_release():
    farm = Bucketful()
    seen = turns(farm)
    farm.give(ME)
    assert seen.took_since(100.0495, syn(MOVES), now=100.05)
    assert not seen.took_since(100.0485, syn(MOVES), now=100.05)


def test_a_bucket_that_was_given_away_and_came_back_between_two_looks_was_not_mine_throughout():
    farm = Bucketful(moves=ME)
    seen = turns(farm)
    farm.give(WEB2)
    farm.give(ME)
    assert not seen.took_since(100.02, syn(MOVES), now=100.05)
    assert seen.took_since(100.02, syn(STAYS), now=100.05)


def test_two_swaps_that_were_noticed_one_by_one_both_count():
    farm = Bucketful(moves=ME)
    seen = turns(farm)
    farm.give(WEB2)
    seen.look(now=100.02)
    farm.give(ME)
    seen.look(now=100.04)
    assert not seen.took_since(100.01, syn(MOVES), now=100.05)
    assert not seen.took_since(100.03, syn(MOVES), now=100.05)
    assert seen.took_since(100.01, syn(STAYS), now=100.05)
    assert seen.took_since(100.04, syn(MOVES), now=100.05)


@pytest.mark.parametrize("missed", [3, 4])
def test_what_more_than_two_swaps_have_hidden_is_not_trusted(missed):
    farm = Bucketful(moves=ME)
    seen = turns(farm)
    for _ in range(missed):
        farm.give(ME)
    assert not seen.took_since(100.02, syn(STAYS), now=100.05)
    assert seen.took_since(100.05, syn(STAYS), now=100.06)


def test_nothing_is_known_of_what_came_before_the_first_look():
    seen = turns(Bucketful())
    assert not seen.took_since(99.99, syn(STAYS), now=100.05)


def test_what_was_noticed_long_ago_is_forgotten():
    farm = Bucketful()
    seen = turns(farm)
    farm.give(ME)
    seen.look(now=100.05)
    farm.give(ME)
    seen.look(now=100.5)
    assert not seen.took_since(100.01, syn(STAYS), now=100.5)
    assert seen.took_since(100.45, syn(MOVES), now=100.5)


def test_a_swap_that_goes_on_does_not_count_yet_and_one_that_never_ends_opens_nothing():
    farm = Bucketful()
    seen = turns(farm)
    memory = farm.tables._fields["half"]
    memory[0] += 2  # as a swap that has just begun
    assert seen.took_since(100.02, syn(STAYS), now=100.05)
    other = turns(farm)
    assert not other.took_since(100.05, syn(STAYS), now=100.05)
    memory[0] ^= 1  # as it ends
    assert other.took_since(100.06, syn(STAYS), now=100.06)
    assert seen.took_since(100.02, syn(STAYS), now=100.06)


def test_the_rules_that_take_ask_the_tables_before_as_well():
    farm = Bucketful()
    farm.tables.set_dirty(me=False, members={WEB2: 1 << bucket_of_address(SEED, STAYS)})
    seen = turns(farm)
    farm.tables.set_dirty(me=False, members={})
    farm.give(ME)
    segment = bytearray(syn(STAYS))
    segment[47] = 0x10
    assert not seen.took_since(100.02, bytes(segment), now=100.05)
    assert seen.took_since(100.06, bytes(segment), now=100.06)


def test_a_storm_of_swaps_costs_memory_for_sixteen():
    farm = Bucketful()
    seen = turns(farm)
    for number in range(1, 21):
        farm.give(ME)
        seen.look(now=100 + number / 1000)
    assert not seen.took_since(100.003, syn(STAYS), now=100.021)
    assert seen.took_since(100.004, syn(STAYS), now=100.021)
