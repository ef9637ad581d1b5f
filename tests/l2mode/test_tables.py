"""The tables in memory: what is written is what is read, and the limits are said."""

from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2mode.core.buckets import BUCKETS
from l2mode.core.cells import ANYWHERE, NOBODY, PENDING
from l2mode.core.port_classes import MAX_CLASSES, count_classes
from l2mode.core.reasons import REASONS, Reason
from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup, Unmatched
from l2mode.core.tables import Tables
from l2mode.core.verdict import Delivery

WEB4, WEB6, DNS4 = ip_address("192.0.2.50"), ip_address("2001:db8::50"), ip_address("192.0.2.51")
WEB = ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80, 443))
DNS = ShareGroup(name="DNS", protocol=Protocol.UDP, ports=(53,), vip=DNS4, by=By.DATAGRAM)
LATE = ShareGroup(name="LATE", protocol=Protocol.TCP, ports=(443, 8443), by=By.PORT)
NODES = ("web1", "web2", "web3")
OWN, OTHER = bytes.fromhex("025500000001"), bytes.fromhex("025500000003")


def settings(**changed):
    usual = {
        "farm": "apache",
        "me": "web2",
        "nodes": NODES,
        "vips": (WEB4, WEB6, DNS4),
        "groups": (WEB, DNS, LATE),
        "seed": bytes(range(16)),
    }
    return LayerTwoSettings(**usual | changed)


def tables(**changed):
    made = Tables(bytearray(Tables.SIZE))
    made.configure(settings(**changed), bytes.fromhex("0a0000000001"))
    return made


def dirty_anywhere(own):
    """Give the different sets of members that are dirty in some bucket."""
    return {own.dirty_members(bucket) for bucket in range(BUCKETS)}


def test_a_configured_filter_takes_nothing():
    own = tables()
    assert own.lease == 0
    assert own.me == 1
    assert (own.dirty, dirty_anywhere(own)) == (False, {0})
    assert {own.cell(group, bucket) for group in range(3) for bucket in range(BUCKETS)} == {NOBODY}
    assert [own.director(vip) for vip in range(3)] == [None, None, None]
    assert (own.delivery, own.director_takes_unmatched) == (Delivery.DIRECTED, False)
    assert own.seed == bytes(range(16))


def test_delivery_and_unmatched_are_those_of_the_farm_file():
    own = tables(delivery=Delivery.FLOODED, unmatched=Unmatched.DIRECTOR)
    assert (own.delivery, own.director_takes_unmatched) == (Delivery.FLOODED, True)
    assert own.virtual_mac == bytes.fromhex("0a0000000001")


def test_configuring_forgets_all_that_was_there():
    own = tables()
    own.set_lease(5)
    own.swap([bytes(BUCKETS)] * 3, [0, 1, 2])
    own.set_dirty(me=True, members={0: 5, 2: ANYWHERE})
    own.set_macs(OWN, {2: OTHER})
    own.count(Reason.NEW)
    own.configure(settings(vips=(DNS4,)), b"")
    fresh = tables(vips=(DNS4,))
    assert own.vip(WEB4.packed) is None
    assert own.counters() == fresh.counters()
    assert list(own.macs()) == []
    assert (own.lease, own.half, own.dirty, dirty_anywhere(own)) == (0, 0, False, {0})


def test_virtual_ips_are_known_by_their_bytes_and_nothing_else_is():
    own = tables()
    assert [own.vip(address.packed) for address in (WEB4, WEB6, DNS4)] == [0, 1, 2]
    assert own.vip(ip_address("192.0.2.52").packed) is None
    assert own.vip(ip_address("2001:db8::51").packed) is None
    assert own.vip(WEB4.packed + bytes(12)) is None


@given(st.lists(st.ip_addresses(), min_size=1, max_size=64, unique=True))
def test_any_64_addresses_are_told_apart(addresses):
    own = tables(vips=tuple(addresses), groups=())
    assert [own.vip(address.packed) for address in addresses] == list(range(len(addresses)))


def test_a_port_belongs_to_the_first_group_that_names_it():
    own = tables()
    assert [own.group(0, Protocol.TCP, port) for port in (80, 443, 8443, 53, 0, 65535)] == [0, 0, 2, None, None, None]
    assert [own.group(vip, Protocol.UDP, 53) for vip in range(3)] == [None, None, 1]
    assert own.group(0, Protocol.UDP, 80) is None
    assert [own.by(group) for group in range(3)] == [By.ADDRESS, By.DATAGRAM, By.PORT]


def test_what_has_no_port_goes_by_the_first_group_for_the_virtual_ip():
    own = tables()
    assert [own.fallback_group(vip, Protocol.TCP) for vip in range(3)] == [0, 0, 0]
    assert [own.fallback_group(vip, Protocol.UDP) for vip in range(3)] == [None, None, 1]
    assert [own.fallback_group(vip, None) for vip in range(3)] == [0, 0, 0]
    assert tables(groups=(DNS, WEB)).fallback_group(2, None) == 0
    assert tables(groups=(DNS, WEB)).fallback_group(0, None) == 1


def test_ports_that_share_their_group_cost_one_class():
    many = ShareGroup(name="MANY", protocol=Protocol.TCP, ports=tuple(range(1, 60001)))
    own = tables(groups=(DNS, many))
    assert own.group(2, Protocol.UDP, 53) == 0
    assert [own.group(0, Protocol.TCP, port) for port in (1, 53, 60000, 60001)] == [1, 1, 1, None]


def binary(bits: int) -> Iterator[ShareGroup]:
    """Give groups of which every port in turn is in another set."""
    for bit in range(bits):
        ports = tuple(port for port in range(1, 1 << bits) if port >> bit & 1)
        vip = ip_address(f"192.0.2.{bit}")
        yield ShareGroup(name=f"BIT{bit}", protocol=Protocol.TCP, ports=ports, vip=vip)


def test_255_classes_of_ports_fit_and_one_more_is_refused():
    vips = tuple(ip_address(f"192.0.2.{bit}") for bit in range(9))
    own = tables(groups=tuple(binary(8)), vips=vips)
    assert [own.group(bit, Protocol.TCP, 0b10100101) for bit in range(8)] == [0, None, 2, None, None, 5, None, 7]
    assert count_classes(group.ports for group in binary(8)) == MAX_CLASSES
    with pytest.raises(ValueError, match=r"256 classes of ports that differ in their shares, but .* 255"):
        tables(groups=tuple(binary(9)), vips=vips)


@given(st.lists(st.frozensets(st.integers(1, 12), min_size=1), min_size=1, max_size=6))
def test_the_classes_that_are_counted_beforehand_are_those_that_are_written(ports):
    vips = tuple(ip_address(f"192.0.2.{number}") for number in range(len(ports)))
    groups = tuple(
        ShareGroup(name=f"G{number}", protocol=Protocol.TCP, ports=tuple(sorted(each)), vip=vips[number])
        for number, each in enumerate(ports)
    )
    own = tables(groups=groups, vips=vips)
    rules = {
        tuple(own.group(vip, Protocol.TCP, port) for vip in range(len(vips))) for port in frozenset().union(*ports)
    }
    assert count_classes(ports) == len(rules)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"nodes": tuple(f"web{n}" for n in range(65))}, "65 nodes, but the filter's tables hold 64"),
        ({"vips": tuple(ip_address(n + 1) for n in range(65))}, "65 virtual IPs"),
        ({"groups": (WEB,) * 65}, "65 share groups"),
    ],
)
def test_the_limits_are_said(changed, problem):
    with pytest.raises(ValueError, match=problem):
        tables(**changed)


def test_a_swap_shows_all_new_owners_at_once_and_leaves_the_old_half_alone():
    own = tables()
    first, second = bytes([0, 1, 2, PENDING] * 1024), bytes([2, NOBODY] * 2048)
    own.swap([first, second, first], [2, 0, NOBODY])
    assert own.half == 1
    assert bytes(own.cell(0, bucket) for bucket in range(BUCKETS)) == first
    assert bytes(own.cell(1, bucket) for bucket in range(BUCKETS)) == second
    assert [own.director(vip) for vip in range(3)] == [2, 0, None]
    own.swap([second, second, first], [1, 1, 1])
    assert own.half == 0
    assert bytes(own.cell(0, bucket) for bucket in range(BUCKETS)) == second
    assert bytes(own.cell(2, bucket) for bucket in range(BUCKETS)) == first
    assert own.director(2) == 1


def test_macs_are_those_of_the_others_and_one_that_goes_is_forgotten():
    own = tables()
    own.set_macs(OWN, {1: OWN, 2: OTHER})
    assert own.own_mac == OWN
    assert list(own.macs()) == [(2, OTHER)]
    assert [own.mac(node) for node in range(3)] == [None, None, OTHER]
    own.set_macs(OWN, {0: OTHER})
    assert list(own.macs()) == [(0, OTHER)]


def test_members_may_be_dirty_anywhere_and_so_may_this_node():
    own = tables()
    own.set_dirty(me=True, members={0: ANYWHERE, 2: ANYWHERE})
    assert (own.dirty, dirty_anywhere(own)) == (True, {0b101})


def test_members_are_dirty_in_the_buckets_that_they_name():
    own = tables()
    own.set_dirty(me=False, members={0: 1 << 7 | 1 << 4095, 2: 1 << 7})
    assert [own.dirty_members(bucket) for bucket in (6, 7, 4095)] == [0, 0b101, 0b001]
    own.set_dirty(me=False, members={0: 1 << 6, 2: ANYWHERE})
    assert [own.dirty_members(bucket) for bucket in (6, 7, 4095)] == [0b101, 0b100, 0b100]
    own.set_dirty(me=False, members={2: 1 << 7})
    assert [own.dirty_members(bucket) for bucket in (6, 7, 4095)] == [0, 0b100, 0]
    own.set_dirty(me=False, members={})
    assert dirty_anywhere(own) == {0}


def test_counters_add_up_over_the_rows_of_all_processors():
    memory = bytearray(Tables.SIZE)
    own = Tables(memory)
    own.configure(settings(), b"")
    own.count(Reason.NEW)
    own.count(Reason.NEW)
    own.count(Reason.FOREIGN)
    at = Tables.SIZE - 32 * 8 + Reason.NEW.number * 8
    memory[at : at + 8] = (40).to_bytes(8, "little")
    assert own.counters()[Reason.NEW] == 42
    assert Reason.FOREIGN not in own.counters()
    assert sum(own.counters().values()) == 42


def test_two_views_of_one_memory_agree():
    memory = bytearray(Tables.SIZE + 4096)
    writer, reader = Tables(memory), Tables(memoryview(memory))
    writer.configure(settings(), b"")
    writer.set_lease(7_000_000_000_123)
    assert reader.lease == 7_000_000_000_123


def test_every_reason_has_a_number_of_its_own_and_a_text():
    assert [reason.number for reason in REASONS] == list(range(len(Reason)))
    assert len({reason.text for reason in Reason}) == len(Reason)


def test_swaps_are_counted_modulo_their_limit():
    own = tables()
    assert own.turns == 0
    own.swap([bytes(BUCKETS)] * 3, [0, 1, 2])
    assert (own.turns, own.half) == (1, 1)
    for _ in range(Tables.MAX_TURNS - 1):
        own.swap([], [])
    assert (own.turns, own.half) == (0, 0)


def test_copies_show_the_tables_before_the_latest_swap_and_those_in_force():
    own = tables()
    own.swap([bytes([1]) * BUCKETS] * 3, [1, 1, 1])
    own.swap([bytes([2]) * BUCKETS] * 3, [2, 2, 2])
    turns, before, present = own.copies()
    own.swap([bytes(BUCKETS)] * 3, [0, 0, 0])
    assert turns == 2
    assert (before.cell(0, 7), before.director(0)) == (1, 1)
    assert (present.cell(0, 7), present.director(0)) == (2, 2)


def test_there_are_no_copies_of_tables_that_are_being_swapped():
    own = tables()
    found = []

    class Looking(list):
        """The owners of buckets, which look at the tables while they are written."""

        def __iter__(self):
            found.append((own.copies(), own.turns, own.half))
            return super().__iter__()

    own.swap(Looking([bytes(BUCKETS)] * 3), [0, 0, 0])
    assert found == [(None, 0, 0)]
    assert own.copies() is not None
