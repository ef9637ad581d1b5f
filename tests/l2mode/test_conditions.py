"""What a machine must be for its node to take a share: each condition lost, and how soon it counts as back."""

import dataclasses
import re
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interfaces import ETH0

from l2mode.core.conditions import CONDITIONS, HOLD, LONGEST_HOLD, Hold, Machine, Response, in_the_way
from l2mode.core.interface import ConfiguredAddress, Obstacle
from l2mode.core.verdict import Delivery

MANUAL = Path(__file__).parents[2] / "docs" / "manual" / "layer2.md"
VIPS = (ip_address("192.0.2.50"), ip_address("2001:db8::50"))


def at(interface, address, length):
    return ConfiguredAddress(
        interface=interface, address=ip_address(address), prefix_length=length, usable_as_source=interface != "lo"
    )


OWN, OWN6 = at("eth0", "192.0.2.11", 24), at("eth0", "2001:db8::11", 64)
OTHER = at("eth1", "198.51.100.11", 24)
ON_LO = (at("lo", "192.0.2.50", 32), at("lo", "2001:db8::50", 128))
WELL = Machine(
    name="eth0",
    interface=ETH0,
    loopback_up=True,
    addresses=(*ON_LO, OWN, OWN6),
    vips=VIPS,
    delivery=Delivery.DIRECTED,
    own=frozenset({OWN.address, OTHER.address}),
)


def first(machine):
    return next(iter(in_the_way(machine)), Obstacle("", "")).problem


def with_interface(**facts):
    return dataclasses.replace(WELL, interface=dataclasses.replace(ETH0, **facts))


def with_addresses(*addresses):
    return dataclasses.replace(WELL, addresses=(*ON_LO, *addresses))


def test_nothing_is_in_the_way_of_a_machine_that_is_well():
    assert list(in_the_way(WELL)) == []


LOST = [
    (dataclasses.replace(WELL, interface=None), "there is no interface eth0"),
    (with_interface(port_of="br0"), "eth0 is a port of br0, which receives its frames"),
    (with_interface(without_arp=True), "eth0 has ARP switched off, so it neither sends nor answers ARP"),
    (with_interface(up=False, carrier=False), "eth0 is down"),
    (with_interface(carrier=False), "eth0 has no carrier"),
    (with_addresses(OWN6), "eth0 has no IPv4 address of its own, so this machine would speak as the virtual IP"),
    (with_addresses(OWN), "eth0 has no IPv6 address of its own, so this machine would speak as the virtual IP"),
    (
        with_addresses(OWN, OWN6, at("eth0", "192.0.2.50", 24)),
        "the virtual IP 192.0.2.50 is an address of eth0 already, which answers ARP for it",
    ),
    (
        with_addresses(at("eth0", "192.0.2.99", 24), OWN6),
        "this machine no longer has an address of the node (192.0.2.11, 198.51.100.11), so it hears no other node",
    ),
    (dataclasses.replace(WELL, loopback_up=False), "lo is down"),
]


@pytest.mark.parametrize(("machine", "why"), LOST, ids=[why for _, why in LOST])
def test_the_first_thing_in_the_way_is_said_with_a_remedy(machine, why):
    assert first(machine) == why
    assert all(obstacle.remedy for obstacle in in_the_way(machine))


def test_every_condition_that_is_looked_at_can_be_lost():
    for condition in CONDITIONS:
        found = [list(condition.why_not(machine)) for machine, _ in LOST]
        assert any(found) is (condition.response is Response.NO_SHARE), condition.what


def test_one_of_several_networks_is_enough_for_heartbeats():
    assert first(with_addresses(at("eth0", "192.0.2.99", 24), OWN6, OTHER)) == ""


def test_of_an_interface_that_is_down_it_is_not_said_that_it_has_no_carrier():
    assert [obstacle.problem for obstacle in in_the_way(with_interface(up=False, carrier=False))] == ["eth0 is down"]


# Holding

DOWN, NO_ADDRESS = Obstacle("eth0 is down", "up"), Obstacle("eth0 has no IPv4 address", "add")


def test_what_is_in_the_way_counts_at_once_and_is_over_when_all_has_been_right_for_a_second():
    hold = Hold()
    assert hold.see([DOWN], now=10.0)
    assert hold.obstacle == DOWN
    assert not hold.see([], now=11.0)
    assert hold.obstacle == DOWN
    assert hold.next_at() == 11.0 + HOLD
    assert not hold.see([], now=11.9)
    assert hold.see([], now=12.0)
    assert hold.obstacle is None
    assert hold.next_at() == float("inf")


def test_what_is_lost_again_meanwhile_holds_anew():
    hold = Hold()
    hold.see([DOWN], now=10.0)
    hold.see([], now=11.0)
    assert hold.see([NO_ADDRESS], now=11.5)
    hold.see([], now=11.6)
    assert not hold.see([], now=12.5)
    assert hold.see([], now=12.6)


def test_what_comes_and_goes_must_hold_longer_each_time_and_calm_forgives():
    hold, now, holds = Hold(), 0.0, []
    for _ in range(7):
        hold.see([DOWN], now=now)
        hold.see([], now=now)
        holds.append(hold.next_at() - now)
        now = hold.next_at()
        assert hold.see([], now=now)
        now += 1.0
    assert holds == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_HOLD, LONGEST_HOLD]
    hold.see([DOWN], now=now + 60.0)
    hold.see([], now=now + 60.0)
    assert hold.next_at() == now + 60.0 + HOLD


@given(st.lists(st.tuples(st.sampled_from([(), (DOWN,), (NO_ADDRESS, DOWN)]), st.floats(0, 5)), max_size=40))
def test_a_share_is_never_taken_while_something_is_in_the_way(story):
    hold, now = Hold(), 0.0
    for found, wait in story:
        now += wait
        before = hold.obstacle
        changed = hold.see(found, now=now)
        assert changed is (hold.obstacle != before)
        if found:
            assert hold.obstacle == found[0]


def test_the_manual_has_the_same_table():
    section = MANUAL.read_text().partition("### What must hold while it runs")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \|$", section, re.MULTILINE)[2:]
    assert rows == [(each.what, each.lost, each.response.value) for each in CONDITIONS]


def test_where_nothing_was_in_the_way_nothing_changes():
    hold = Hold()
    assert not hold.see([], now=10.0)
    assert (hold.obstacle, hold.next_at()) == (None, float("inf"))
