import dataclasses
from ipaddress import ip_address

import pytest
from interfaces import ETH0

from l2mode.core.interface import ConfiguredAddress, holder_of, missing, obstacles

VIP = ip_address("192.0.2.50")
VIP6 = ip_address("2001:db8::50")


def at(interface, address, length=24, *, usable_as_source=True):
    return ConfiguredAddress(
        interface=interface,
        address=ip_address(address),
        prefix_length=length,
        usable_as_source=usable_as_source,
    )


OWN = at("eth0", "192.0.2.11")
OWN6 = at("eth0", "2001:db8::11", 64)


def problems(vips, interface, addresses):
    return [(found.problem, found.remedy) for found in obstacles(vips, interface, addresses)]


def test_an_interface_that_is_up_with_own_addresses_carries_virtual_ips():
    assert problems([VIP, VIP6], ETH0, [OWN, OWN6, at("lo", "192.0.2.50", 32)]) == []


def test_an_own_address_is_asked_for_in_the_families_of_the_virtual_ips_only():
    assert problems([VIP], ETH0, [OWN]) == []
    assert problems([VIP6], ETH0, [OWN]) == [
        (
            "eth0 has no IPv6 address of its own, so this machine would speak as the virtual IP",
            "ip address add ADDRESS/LENGTH dev eth0",
        )
    ]


@pytest.mark.parametrize(
    "address",
    [
        at("eth1", "192.0.2.11"),
        at("lo", "192.0.2.50", 32),
        at("eth0", "169.254.1.1", usable_as_source=False),
        OWN6,
    ],
    ids=["of another interface", "the virtual IP", "of link scope", "of the other family"],
)
def test_an_address_that_cannot_be_a_source_is_no_own_address(address):
    ((problem, _),) = problems([VIP], ETH0, [address])
    assert problem.startswith("eth0 has no IPv4 address of its own")


def test_a_virtual_ip_on_another_interface_is_somebody_elses():
    assert problems([VIP], ETH0, [OWN, at("eth1", "192.0.2.50")]) == [
        (
            "the virtual IP 192.0.2.50 is an address of eth1 already, which answers ARP for it",
            "ip address del 192.0.2.50/24 dev eth1",
        )
    ]


def test_an_interface_that_is_down_is_told_with_all_else():
    down = dataclasses.replace(ETH0, up=False)
    assert [problem for problem, _ in problems([VIP], down, [])] == [
        "eth0 is down",
        "eth0 has no IPv4 address of its own, so this machine would speak as the virtual IP",
    ]


def test_what_has_no_mac_that_others_could_ask_for_carries_nothing():
    loopback = dataclasses.replace(ETH0, name="lo", loopback=True, ethernet=False)
    tunnel = dataclasses.replace(ETH0, name="tun0", ethernet=False)
    assert problems([VIP], loopback, [])[0][0] == "lo is the loopback: nobody can ask it for a MAC"
    assert problems([VIP], tunnel, [])[0][0] == "tun0 is no Ethernet interface: nobody can ask it for a MAC"


def test_missing_are_those_that_are_not_on_the_loopback():
    assert missing([VIP, VIP6], [at("lo", "192.0.2.50", 32), at("eth0", "2001:db8::50")]) == (VIP6,)


def test_the_interface_that_holds_an_address_is_never_the_loopback():
    addresses = [at("lo", "192.0.2.11", 32), OWN]
    assert holder_of(OWN.address, addresses) == "eth0"
    assert holder_of(VIP, addresses) is None
