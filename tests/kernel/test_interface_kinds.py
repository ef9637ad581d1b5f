"""What the kernel says of an interface's kind, mode, ports and what it stands on, and whether the daemon takes it."""

import os

import pytest
from lan.namespaces import configure, inside, made, unique_prefix

from l2mode.core.interface_kinds import Fit, judge
from l2mode.core.verdict import Delivery
from l2mode.kernel.interface import read_interface

DIRECTED, FLOODED = Delivery.DIRECTED, Delivery.FLOODED


@pytest.fixture
def namespaces():
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    prefix = unique_prefix()
    with made([f"{prefix}here", f"{prefix}there"]), inside(f"{prefix}here"):
        configure(f"{prefix}here", ["link add eth0 type veth peer name peer0", "link set eth0 up", "link set peer0 up"])
        yield f"{prefix}here", f"{prefix}there"


def made_with(namespace, *lines):
    """Make interfaces; skip the test on a kernel that does not have the kind."""
    try:
        configure(namespace, lines)
    except AssertionError as error:
        if "not supported" in str(error) or "Unknown device type" in str(error):
            pytest.skip("this kernel has no such interface")
        raise


@pytest.mark.parametrize("mode", ["bridge", "private", "vepa", "passthru", "source"])
def test_a_macvlan_has_its_mode_and_stands_on_its_parent(namespaces, mode):
    made_with(namespaces[0], f"link add link eth0 name x0 type macvlan mode {mode}")
    found = read_interface("x0")
    assert (found.kind, found.mode, found.lower.name, found.lower.kind) == ("macvlan", mode, "eth0", "veth")


def test_a_parent_in_another_namespace_is_not_taken_for_one_here(namespaces):
    here, there = namespaces
    made_with(here, f"link add link eth0 name x0 netns {there} type macvlan mode bridge")
    with inside(there):
        found = read_interface("x0")
        assert (found.mode, found.lower) == ("bridge", None)
        assert "on one of another network namespace" in judge(found, DIRECTED)[0].text


def test_a_port_knows_its_bridge_and_the_bridge_is_no_port(namespaces):
    made_with(namespaces[0], "link add br0 type bridge", "link set eth0 master br0")
    found = read_interface("eth0")
    assert (found.port_of, found.port_kind) == ("br0", "bridge")
    assert read_interface("br0").port_of is None


BONDS = ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"]


@pytest.mark.parametrize("mode", BONDS)
def test_a_bond_has_its_mode_and_its_ports_know_it(namespaces, mode):
    made_with(
        namespaces[0], f"link add bond0 type bond mode {mode}", "link set eth0 down", "link set eth0 master bond0"
    )
    found = read_interface("bond0")
    assert (found.kind, found.mode, found.mac_of_active_port) == ("bond", mode, False)
    port = read_interface("eth0")
    assert (port.port_of, port.port_kind) == ("bond0", "bond")


def test_a_bond_that_takes_the_mac_of_its_active_port_says_so(namespaces):
    made_with(namespaces[0], "link add bond0 type bond mode active-backup fail_over_mac active")
    assert read_interface("bond0").mac_of_active_port


def test_a_vlan_on_a_vlan_on_a_bond_stands_on_all_of_them(namespaces):
    made_with(
        namespaces[0],
        "link add bond0 type bond mode balance-alb",
        "link add link bond0 name bond0.20 type vlan id 20",
        "link add link bond0.20 name x0 type vlan id 30",
    )
    found = read_interface("x0")
    assert (found.lower.name, found.lower.lower.name, found.lower.lower.mode) == ("bond0.20", "bond0", "balance-alb")
    assert [one.fit for one in judge(found, DIRECTED)] == [Fit.REFUSED]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("link add link eth0 name x0 type macvtap mode bridge", "macvtap"),
        ("link add link eth0 name x0 type ipvlan mode l2", "ipvlan"),
        ("link add link eth0 name x0 type ipvtap mode l2", "ipvtap"),
        ("link add name x0 type dummy", "dummy"),
        ("link add name x0 type ifb", "ifb"),
        ("link add name x0 type vrf table 5", "vrf"),
    ],
)
def test_what_cannot_carry_a_virtual_ip_is_refused_in_both_deliveries(namespaces, line, kind):
    made_with(namespaces[0], line)
    found = read_interface("x0")
    assert found.kind == kind
    assert {judge(found, delivery)[0].fit for delivery in Delivery} == {Fit.REFUSED}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("link add name x0 type vxlan id 5 dev eth0 dstport 4789", "vxlan"),
        ("link add name x0 type gretap local 192.0.2.1 remote 192.0.2.2", "gretap"),
        ("link add name x0 type geneve id 5 remote 192.0.2.2", "geneve"),
        ("link add name x0 type team", "team"),
        ("link add link eth0 name x0 type vlan id 20", "vlan"),
        ("link add link eth0 name x0 type macsec", "macsec"),
        ("tuntap add name x0 mode tap", "tun"),
    ],
)
def test_the_kernels_word_for_a_kind_is_that_of_the_table(namespaces, line, kind):
    made_with(namespaces[0], line)
    found = read_interface("x0")
    assert found.kind == kind
    assert judge(found, DIRECTED)[0].fit in {Fit.RIGHT, Fit.DOUBTFUL}
    assert "of an unknown kind" not in judge(found, DIRECTED)[0].text


def test_an_interface_of_a_vrf_is_refused(namespaces):
    made_with(namespaces[0], "link add red type vrf table 5", "link set eth0 master red")
    found = read_interface("eth0")
    assert (found.port_of, found.port_kind) == ("red", "vrf")
