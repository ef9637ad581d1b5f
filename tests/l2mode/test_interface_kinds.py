"""Which kinds of interface carry virtual IPs, kind by kind, and what is said of the others."""

import dataclasses
import re
from pathlib import Path

import pytest
from interfaces import ETH0

from l2mode.core.interface import Interface
from l2mode.core.interface_kinds import KINDS, Fit, in_the_same_network, judge
from l2mode.core.verdict import Delivery

DIRECTED, FLOODED = Delivery.DIRECTED, Delivery.FLOODED
RIGHT, DOUBTFUL, REFUSED = Fit.RIGHT, Fit.DOUBTFUL, Fit.REFUSED
MANUAL = Path(__file__).parents[2] / "docs" / "manual"


def interface(kind, mode="", **facts):
    return dataclasses.replace(ETH0, name="x0", kind=kind, mode=mode, **facts)


def fits(found):
    """Give how it suits directed and flooded delivery, by the worst of what is said."""
    return tuple(
        max((one.fit for one in judge(found, delivery)), key=list(Fit).index) for delivery in (DIRECTED, FLOODED)
    )


@pytest.mark.parametrize(
    ("found", "directed", "flooded"),
    [
        (ETH0, RIGHT, RIGHT),
        (interface(None, virtual_function=True), DOUBTFUL, DOUBTFUL),
        (interface(None, wireless=True), REFUSED, REFUSED),
        (interface("veth"), RIGHT, RIGHT),
        (interface("bridge"), RIGHT, RIGHT),
        (interface("bond", "active-backup"), RIGHT, RIGHT),
        (interface("bond", "active-backup", mac_of_active_port=True), DOUBTFUL, DOUBTFUL),
        (interface("bond", "802.3ad"), RIGHT, RIGHT),
        (interface("bond", "balance-rr"), DOUBTFUL, DOUBTFUL),
        (interface("bond", "balance-xor"), DOUBTFUL, DOUBTFUL),
        (interface("bond", "broadcast"), DOUBTFUL, DOUBTFUL),
        (interface("bond", "balance-tlb"), REFUSED, RIGHT),
        (interface("bond", "balance-alb"), REFUSED, REFUSED),
        (interface("team"), DOUBTFUL, DOUBTFUL),
        (interface("macvlan", "bridge", lower=ETH0), RIGHT, REFUSED),
        (interface("macvlan", "private", lower=ETH0), RIGHT, REFUSED),
        (interface("macvlan", "vepa", lower=ETH0), RIGHT, REFUSED),
        (interface("macvlan", "passthru", lower=ETH0), RIGHT, RIGHT),
        (interface("macvlan", "source", lower=ETH0), REFUSED, REFUSED),
        (interface("macvlan", "bridge"), RIGHT, REFUSED),
        (interface("macvtap", lower=ETH0), REFUSED, REFUSED),
        (interface("ipvlan", lower=ETH0), REFUSED, REFUSED),
        (interface("ipvtap", lower=ETH0), REFUSED, REFUSED),
        (interface("tun"), DOUBTFUL, DOUBTFUL),
        (interface("vxlan"), RIGHT, DOUBTFUL),
        (interface("gretap"), RIGHT, RIGHT),
        (interface("vrf"), REFUSED, REFUSED),
        (interface("dummy", without_arp=True), REFUSED, REFUSED),
        (interface("something"), DOUBTFUL, DOUBTFUL),
        (interface("veth", without_arp=True), REFUSED, REFUSED),
        (interface(None, port_of="br0", port_kind="bridge"), REFUSED, REFUSED),
        (interface(None, port_of="bond0", port_kind="bond"), REFUSED, REFUSED),
        (interface(None, port_of="red", port_kind="vrf"), REFUSED, REFUSED),
        # What stands on another is as that is.
        (interface("vlan", lower=ETH0), RIGHT, RIGHT),
        (interface("vlan", lower=interface("bond", "active-backup")), RIGHT, RIGHT),
        (interface("vlan", lower=interface("bond", "balance-alb")), REFUSED, REFUSED),
        (interface("vlan", lower=interface("bond", "balance-tlb")), REFUSED, RIGHT),
        (interface("vlan", lower=interface("macvlan", "bridge", lower=ETH0)), RIGHT, REFUSED),
        (interface("vlan", lower=interface("vlan", lower=interface(None, wireless=True))), REFUSED, REFUSED),
        (interface("vlan", lower=interface(None, port_of="br0", port_kind="bridge")), RIGHT, RIGHT),
        (interface("macvlan", "passthru", lower=interface("bond", "balance-alb")), REFUSED, REFUSED),
        (interface("vlan"), RIGHT, RIGHT),
    ],
    ids=lambda value: f"{value.kind} {value.mode}" if isinstance(value, Interface) else value.value,
)
def test_how_each_kind_suits_each_delivery(found, directed, flooded):
    assert fits(found) == (directed, flooded)


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize("key", KINDS)
def test_whatever_is_not_right_has_its_reason_and_a_remedy(key, delivery):
    row = KINDS[key]
    assert (row.directed, row.flooded) == (RIGHT, RIGHT) or (row.why and row.remedy)
    kind, _, mode = key.partition(" ")
    if key not in {"", "virtual function", "wireless"}:
        for one in judge(interface(kind, mode, lower=ETH0), delivery):
            assert one.fit is row.fit(delivery)
            assert row.what in one.text
            assert one.fit is RIGHT or one.remedy


def test_what_is_right_says_on_what_it_stands():
    found = interface("vlan", lower=dataclasses.replace(interface("bond", "802.3ad"), name="bond0"))
    assert [one.text for one in judge(found, FLOODED)] == [
        "x0 is a VLAN on bond0, a bond, 802.3ad (LACP): right for flooded delivery"
    ]


def test_what_stands_on_one_that_cannot_be_seen_says_of_what_that_must_not_be():
    [one] = judge(interface("vlan", lower=interface("macvlan", "bridge")), DIRECTED)
    assert one.text == (
        "x0 is a VLAN on x0, a macvlan, bridge on one of another network namespace: right for directed delivery,"
        " unless that is wireless, or a bond in mode balance-tlb or balance-alb"
    )


def test_what_is_refused_says_why_and_what_to_take():
    [one] = judge(interface("macvlan", "bridge", lower=ETH0), FLOODED)
    assert one.text == (
        "x0 is a macvlan, bridge, which flooded delivery cannot use: its parent passes it only frames to its own MAC,"
        " and flooded frames are sent to another MAC"
    )
    assert one.remedy.startswith('set delivery = "directed" in [l2], on all nodes; or ')


def test_the_fault_of_what_is_below_names_both():
    found = interface("vlan", lower=dataclasses.replace(interface("bond", "balance-alb"), name="bond0"))
    [one] = judge(found, DIRECTED)
    assert one.text.startswith(
        "x0 stands on bond0, and bond0 is a bond, balance-alb, which directed delivery cannot use"
    )


def test_for_a_port_the_master_is_the_one_to_name_and_that_comes_first():
    found = interface("bond", "balance-rr", port_of="br0", port_kind="bridge")
    first, second = judge(found, DIRECTED)
    assert (first.text, first.remedy) == (
        "x0 is a port of br0, which receives its frames",
        'set interface = "br0" in [l2]',
    )
    assert second.fit is DOUBTFUL


def test_a_macvlans_parents_hear_what_it_hears():
    assert in_the_same_network(ETH0) == ("eth0",)
    on_top = dataclasses.replace(
        interface("macvlan", "bridge", lower=interface("macvlan", "bridge", lower=ETH0)), name="x1"
    )
    assert in_the_same_network(on_top) == ("x1", "x0", "eth0")
    assert in_the_same_network(interface("vlan", lower=ETH0)) == ("x0",)
    assert in_the_same_network(interface("macvlan", "bridge")) == ("x0",)


def test_what_is_no_ethernet_interface_is_not_judged_here():
    assert judge(interface("wireguard", ethernet=False), DIRECTED) == ()
    assert judge(dataclasses.replace(ETH0, loopback=True), DIRECTED) == ()


def test_the_manual_has_the_same_table():
    page = (MANUAL / "layer2.md").read_text()
    section = page.partition("### Kinds of interface")[2].partition("\n## ")[0]
    shown = re.findall(
        r"^\| (.*?) \| (right|doubtful|refused)\b.*? \| (right|doubtful|refused)\b.*? \| (.*) \|$",
        section,
        re.MULTILINE,
    )
    assert [(what, directed, flooded) for what, directed, flooded, _ in shown] == [
        (row.what, row.directed.value, row.flooded.value) for row in KINDS.values()
    ]
    for (_, _, _, why), row in zip(shown, KINDS.values(), strict=True):
        assert not row.why or why.startswith(row.why)
