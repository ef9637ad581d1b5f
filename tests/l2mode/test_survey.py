import dataclasses
from ipaddress import ip_address

from interfaces import ETH0

from l2mode.core.interface import ConfiguredAddress
from l2mode.core.survey import Surroundings, findings
from l2mode.core.verdict import Delivery

VIP = ip_address("192.0.2.50")
BR0 = dataclasses.replace(ETH0, name="br0", kind="bridge", driver="bridge")
WELL = Surroundings(
    interface=BR0,
    delivery=Delivery.DIRECTED,
    loopback_up=True,
    addresses=[
        ConfiguredAddress(interface="br0", address=ip_address("192.0.2.11"), prefix_length=24, usable_as_source=True),
        ConfiguredAddress(interface="lo", address=VIP, prefix_length=32, usable_as_source=False),
    ],
    arp={"br0": {"arp_ignore": 1, "arp_announce": 2}},
    rp_filter=0,
    default_interface="br0",
    without_ipv6=(),
    ahead=(),
    bridge_netfilter=(),
    promiscuous=False,
)


def troubles(**changes):
    found = findings(dataclasses.replace(WELL, **changes), [VIP])
    return [(finding.message, finding.remedy) for finding in found if finding.level != "info"]


def test_a_machine_that_is_well_has_no_trouble():
    assert troubles() == []


def test_netfilter_on_a_bridge_sees_packets_first():
    switched_on = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
    assert troubles(bridge_netfilter=switched_on) == [
        (
            "bridge-nf-call-iptables and bridge-nf-call-ip6tables: netfilter and conntrack see packets before br0 does",
            "sysctl -w net/bridge/bridge-nf-call-iptables=0; sysctl -w net/bridge/bridge-nf-call-ip6tables=0",
        )
    ]
    real = dataclasses.replace(BR0, kind=None)
    assert troubles(bridge_netfilter=switched_on, interface=real) == []


def test_only_the_setting_that_is_too_low_is_to_be_raised():
    assert troubles(arp={"br0": {"arp_ignore": 1, "arp_announce": 1}}) == [
        (
            "arp_ignore = 1 and arp_announce = 1: the kernel itself speaks for the virtual IPs",
            "sysctl -w net/ipv4/conf/br0/arp_announce=2",
        )
    ]


def test_a_machine_without_default_route_has_no_other_way_back():
    assert troubles(rp_filter=1, default_interface=None) == []
    assert len(troubles(rp_filter=1, default_interface="eth1")) == 1
    assert troubles(rp_filter=2, default_interface="eth1") == []


def test_an_interface_of_the_same_network_must_be_silent_too():
    arp = {"br0": {"arp_ignore": 1, "arp_announce": 2}, "eth0": {"arp_ignore": 0, "arp_announce": 2}}
    [(message, remedy)] = troubles(arp=arp)
    assert message == (
        "arp_ignore = 0 and arp_announce = 2 of eth0, which is in the same network:"
        " the kernel itself speaks for the virtual IPs"
    )
    assert remedy == "sysctl -w net/ipv4/conf/eth0/arp_ignore=1"


def test_what_keeps_the_machine_from_taking_a_vip_is_told_with_its_remedy():
    no_vip = [place for place in WELL.addresses if place.interface != "lo"]
    assert troubles(loopback_up=False) == [("lo is down", "ip link set lo up")]
    [(message, remedy)] = troubles(addresses=no_vip)
    assert message == "192.0.2.50 is not on lo: nothing here accepts it"
    assert remedy == "start hcsidecar here, which puts it there and keeps it"


def test_an_interface_that_is_down_is_told():
    assert any("eth0 is down" in message for message, _ in troubles(interface=dataclasses.replace(ETH0, up=False)))


def test_what_sees_packets_before_the_filter_is_named():
    [(message, _)] = troubles(ahead=("XDP program 7",))
    assert message.startswith("XDP program 7 on br0 sees packets before the filter")


def test_an_interface_that_hears_everything_is_worth_a_word():
    found = findings(dataclasses.replace(WELL, promiscuous=True), [VIP])
    assert "br0 is promiscuous: it hears what is for other machines too" in [finding.message for finding in found]


def test_a_vip_of_no_network_here_needs_a_route():
    far = ip_address("198.51.100.50")
    here = ConfiguredAddress(interface="lo", address=far, prefix_length=32, usable_as_source=False)
    found = findings(dataclasses.replace(WELL, addresses=[*WELL.addresses, here]), [far])
    assert [finding.remedy for finding in found if finding.level == "warning"] == ["route it to br0 at the router"]


def test_ipv6_that_is_switched_off_keeps_only_vips_of_ipv6_away():
    v6 = ip_address("2001:db8::50")
    found = list(findings(dataclasses.replace(WELL, without_ipv6=("br0", "lo")), [v6]))
    [off] = [finding for finding in found if finding.message.startswith("IPv6 is switched off")]
    assert (off.level, off.message) == ("error", "IPv6 is switched off on br0 and lo")
    assert off.remedy == "sysctl -w net/ipv6/conf/br0/disable_ipv6=0; sysctl -w net/ipv6/conf/lo/disable_ipv6=0"
    assert troubles(without_ipv6=("br0", "lo")) == []


def test_packets_that_leave_elsewhere_than_they_came_in_are_dropped_by_a_strict_filter():
    [(message, remedy)] = troubles(rp_filter=1, default_interface="eth1")
    assert message == "rp_filter = 1: packets that come in at br0 from clients behind eth1 are dropped"
    assert remedy == "sysctl -w net/ipv4/conf/br0/rp_filter=2"
