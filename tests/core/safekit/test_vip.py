"""Virtual IPs and load balancing rules of an imported module."""

import pytest
from safekit_modules import VIP, good, refused, xml

from hcsidecar.core.safekit.notes import Coverage

TAKEN, DIFFERENT, NOT = Coverage.TAKEN, Coverage.DIFFERENT, Coverage.NOT


def vip(
    *, attributes="", interfaces=None, groups=None, interface="check='off'", address="addr='192.0.2.50'", virtual=""
):
    """Write a <vip>; what is not given is usual."""
    usual = (
        f"<interface {interface}><virtual_interface type='vmac_directed' {virtual}>"
        f"<virtual_addr {address}/></virtual_interface></interface>"
    )
    usual_groups = "<group name='WEB'><rule port='80' proto='tcp' filter='on_addr'/></group>"
    return (
        f"<vip {attributes}><interface_list>{usual if interfaces is None else interfaces}</interface_list>"
        f"<loadbalancing_list>{usual_groups if groups is None else groups}</loadbalancing_list></vip>"
    )


def group(*rules, attributes="name='WEB'", cluster=""):
    """Write a group; a rule is its attributes."""
    return f"<group {attributes}>{cluster}{''.join(f'<rule {rule}/>' for rule in rules)}</group>"


@pytest.mark.parametrize(
    ("more", "subject", "verdict"),
    [
        ({"attributes": "tcpreset='on'"}, 'vip tcpreset="on"', DIFFERENT),
        ({}, 'vip tcpreset (unset: "on")', DIFFERENT),
        ({"attributes": "tcpreset='off'"}, 'vip tcpreset="off"', NOT),
        ({"attributes": "scriptcontrol='on'"}, 'vip scriptcontrol="on"', NOT),
        ({}, 'vip scriptcontrol (unset: "off")', DIFFERENT),
        ({"attributes": "x='1'"}, 'vip x="1"', NOT),
        ({"interface": "check='off' arpreroute='on'"}, 'interface arpreroute="on"', DIFFERENT),
        ({"interface": "check='off' arpinterval='60'"}, 'interface arpinterval="60"', DIFFERENT),
        ({"interface": "check='off' arpelapse='10'"}, 'interface arpelapse="10"', DIFFERENT),
        ({"interface": "check='off' name='eth1'"}, 'interface name="eth1"', TAKEN),
        ({"interface": "check='off'"}, 'interface check="off"', TAKEN),
        ({"interface": ""}, 'interface check (unset: "on")', TAKEN),
        ({"interface": "x='1'"}, 'interface x="1"', NOT),
        ({"virtual": "addr='5a:fe:0:0:0:1'"}, 'virtual_interface addr="5a:fe:0:0:0:1"', TAKEN),
        ({}, "<virtual_addr>", TAKEN),
        ({"address": "addr='192.0.2.50' where='alias'"}, 'virtual_addr where="alias"', TAKEN),
        ({"address": "addr='192.0.2.50' check='on'"}, 'virtual_addr check="on"', DIFFERENT),
        ({"address": "addr='192.0.2.50' check='off'"}, 'virtual_addr check="off"', DIFFERENT),
        ({"address": "addr='192.0.2.50' connections='on'"}, 'virtual_addr connections="on"', DIFFERENT),
        ({"address": "addr='192.0.2.50' connections='off'"}, 'virtual_addr connections="off"', TAKEN),
        ({"address": "addr='192.0.2.50' netmask='255.255.255.0'"}, 'virtual_addr netmask="255.255.255.0"', TAKEN),
        ({"address": "addr='192.0.2.50' x='1'"}, 'virtual_addr x="1"', NOT),
        ({"groups": group("port='80' proto='tcp' filter='on_addr' x='1'")}, 'rule x="1"', NOT),
        ({"groups": group("port='80' proto='tcp' filter='on_addr'")}, 'rule virtual_addr (unset: "*")', TAKEN),
    ],
)
def test_each_attribute_of_the_vip_is_spoken_of(more, subject, verdict):
    _, notes = good(xml(vip(**more)))
    assert notes[subject].verdict is verdict


@pytest.mark.parametrize(("kind", "delivery"), [("vmac_directed", "directed"), ("vmac_invisible", "flooded")])
def test_the_kind_of_virtual_interface_is_the_delivery(kind, delivery):
    document, notes = good(xml(VIP.replace("vmac_directed", kind)))
    assert document["l2"]["delivery"] == delivery
    assert notes[f'virtual_interface type="{kind}"'].verdict is TAKEN


def test_without_a_kind_delivery_is_directed_and_that_is_told():
    document, notes = good(xml(VIP.replace("type='vmac_directed'", "")))
    assert document["l2"]["delivery"] == "directed"
    assert notes['virtual_interface type (unset: "")'].verdict is DIFFERENT


def test_a_virtual_mac_of_ones_own_is_not_supported():
    text = VIP.replace("type='vmac_directed'", "type='vmac_invisible' addr='5a:fe:0:0:0:1'")
    assert good(xml(text))[1]['virtual_interface addr="5a:fe:0:0:0:1"'].verdict is NOT


def interface(addresses, attributes="check='off'", kind="vmac_directed"):
    inside = "".join(f"<virtual_addr addr='{address}'/>" for address in addresses)
    return f"<interface {attributes}><virtual_interface type='{kind}'>{inside}</virtual_interface></interface>"


def test_several_virtual_ips_and_interfaces_on_one_network_are_taken_over():
    interfaces = interface(["192.0.2.50", "192.0.2.51"]) + interface(
        ["192.0.2.52", "192.0.2.50"], kind="vmac_invisible"
    )
    document, notes = good(xml(vip(interfaces=interfaces)))
    assert [each["address"] for each in document["l2"]["vip"]] == ["192.0.2.50", "192.0.2.51", "192.0.2.52"]
    assert document["l2"]["delivery"] == "directed"
    assert notes['virtual_interface type="vmac_invisible"'].verdict is DIFFERENT


def test_virtual_ips_on_a_second_named_interface_are_not_supported():
    interfaces = interface(["192.0.2.50"], "name='eth0'") + interface(["198.51.100.50"], "name='eth1'")
    document, notes = good(xml(vip(interfaces=interfaces)))
    assert document["l2"]["interface"] == "eth0"
    assert [each["address"] for each in document["l2"]["vip"]] == ["192.0.2.50"]
    assert notes['virtual_addr addr="198.51.100.50"'].verdict is NOT
    assert [check["interface"] for check in document["check"]] == ["eth0"]


@pytest.mark.parametrize(
    ("attributes", "check"),
    [
        ("check='on' name='eth0'", {"name": "eth0", "interface": "eth0"}),
        ("name='eth0'", {"name": "eth0", "interface": "eth0"}),
        ("check='on'", {"name": "network"}),
    ],
)
def test_an_interface_check_waits_while_the_link_is_down(attributes, check):
    document, _ = good(xml(vip(interfaces=interface(["192.0.2.50"], attributes) * 2)))
    assert document["check"] == [{"type": "interface", "when": "pre", "action": "wait"} | check]


@pytest.mark.parametrize("where", ["one_side_alias", "one_side"])
def test_the_address_of_a_mirror_is_no_vip(where):
    text = vip(interfaces=interface(["192.0.2.50"]) + interface(["192.0.2.51"]).replace("/>", f" where='{where}'/>"))
    document, notes = good(xml(text))
    assert [each["address"] for each in document["l2"]["vip"]] == ["192.0.2.50"]
    assert notes[f'virtual_addr where="{where}"'].verdict is NOT


def test_without_a_vip_the_farm_is_behind_a_balancer():
    document, notes = good(xml())
    assert "l2" not in document
    assert notes["<vip> (unset)"].verdict is TAKEN


@pytest.mark.parametrize(("filtered", "by"), [("on_addr", "address"), ("on_port", "port"), ("on_ipid", "datagram")])
def test_a_filter_says_what_a_share_goes_by(filtered, by):
    document, _ = good(xml(vip(groups=group(f"port='53' proto='udp' filter='{filtered}'"))))
    assert document["l2"]["share"] == [{"name": "WEB", "protocol": "udp", "ports": [53], "by": by}]


def test_rules_of_one_kind_are_one_share_and_others_get_one_of_their_own():
    rules = group(
        "port='80' proto='tcp' filter='on_addr'",
        "port='443' proto='tcp' filter='on_addr'",
        "port='23' proto='tcp' filter='on_port'",
        "port='53' proto='udp' filter='on_addr'",
        "port='80' proto='tcp' filter='on_addr' virtual_addr='*'",
    )
    mail = group("port='25' proto='tcp' filter='on_addr' virtual_addr='192.0.2.50'", attributes="name='WEB'")
    document, notes = good(xml(vip(groups=rules + mail)))
    assert document["l2"]["share"] == [
        {"name": "WEB", "protocol": "tcp", "ports": [80, 443], "by": "address"},
        {"name": "WEB-tcp-port", "protocol": "tcp", "ports": [23], "by": "port"},
        {"name": "WEB-udp-address", "protocol": "udp", "ports": [53], "by": "address"},
        {"name": "WEB-2", "protocol": "tcp", "ports": [25], "by": "address", "vip": "192.0.2.50"},
    ]
    assert notes["<group>"].verdict is TAKEN  # the second one; the first is told of on its line


def test_powers_of_hosts_are_those_of_the_share():
    cluster = "<cluster><host name='web1' power='0'/><host name='web2' power='64'/><other/></cluster>"
    document, notes = good(xml(vip(groups=group("port='80' proto='tcp' filter='on_addr'", cluster=cluster))))
    assert document["l2"]["share"][0]["power"] == {"web1": 0, "web2": 64}
    assert notes['host power="0"'].text == "power = 0: it takes nothing"
    assert notes["<other>"].verdict is NOT


def test_an_arp_rule_is_a_difference():
    rules = group("port='80' proto='tcp' filter='on_addr'", "proto='arp' filter='on_addr'")
    document, notes = good(xml(vip(groups=rules)))
    assert len(document["l2"]["share"]) == 1
    assert notes['rule proto="arp"'].verdict is DIFFERENT


RULE = "port='80' proto='tcp' filter='on_addr'"


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"groups": group("port='*' proto='tcp' filter='on_addr'")}, 'rule port: is "*", every port'),
        ({"groups": group("proto='tcp' filter='on_addr'")}, 'unmatched = "director"'),
        ({"groups": group("port='0' proto='tcp' filter='on_addr'")}, "a whole number from 1 to 65535"),
        ({"groups": group("port='http' proto='tcp' filter='on_addr'")}, "a whole number from 1 to 65535"),
        ({"groups": group("port='80' filter='on_addr'")}, "rule proto: is missing"),
        ({"groups": group("port='80' proto='sctp' filter='on_addr'")}, 'rule proto: is "sctp" (tcp, udp or arp)'),
        ({"groups": group("port='80' proto='tcp'")}, "rule filter: is missing"),
        ({"groups": group("port='80' proto='tcp' filter='x'")}, "one of on_addr, on_port, on_ipid"),
        ({"groups": group("port='80' proto='tcp' filter='on_ipid'")}, "scatter the packets of one TCP connection"),
        ({"groups": group(f"{RULE} virtual_addr='192.0.2.99'")}, "is no VIP of this module: 192.0.2.99"),
        ({"groups": group(f"{RULE} virtual_addr='www'")}, 'rule virtual_addr: is no IP address: "www"'),
        ({"groups": group(RULE, cluster="<cluster><host name='web9' power='1'/></cluster>")}, "--node web9=ADDRESS"),
        ({"groups": group(RULE, cluster="<cluster><host power='1'/></cluster>")}, "host name: is missing"),
        ({"groups": group(RULE, cluster="<cluster><host name='web1' power='-1'/></cluster>")}, "host power"),
        ({"groups": group()}, "group: has no <rule>"),
        ({"groups": ""}, "has no <group>"),
        ({"groups": group(RULE) + group(RULE)}, "l2.share[2].ports"),
        ({"address": ""}, "virtual_addr addr: is missing"),
        ({"address": "addr=''"}, "virtual_addr addr: is empty"),
        ({"address": "addr='www.example.com'"}, "virtual_addr addr: is no IP address"),
        ({"address": "addr='192.0.2.11'"}, "l2.vip[1].address: is the address of web1"),
        ({"address": "addr='2001:db8::50'"}, "these nodes have no IPv6 address"),
        ({"interfaces": ""}, "has no virtual_addr"),
        ({"interfaces": interface(["192.0.2.50"], kind="vmac_magic")}, 'virtual_interface type: is "vmac_magic"'),
        ({"interface": "check='maybe'"}, "interface check"),
    ],
)
def test_what_cannot_be_shared_is_refused(more, told):
    problems = refused(xml(vip(**more)))
    assert any(told in problem for problem in problems), problems


def test_a_vip_without_rules_is_refused():
    text = VIP[: VIP.index("<loadbalancing_list>")] + "</vip>"
    assert any("has no rule" in problem for problem in refused(xml(text)))


def test_unknown_parts_of_the_vip_are_told_of():
    interfaces = "<x/>" + interface(["192.0.2.50"]).replace("</interface>", "<y/></interface>").replace(
        "</virtual_interface>", "<z/></virtual_interface>"
    )
    text = vip(interfaces=interfaces, groups="<w/>" + group(RULE).replace("</group>", "<u/></group>")).replace(
        "</vip>", "<v/></vip>"
    )
    _, notes = good(xml(text))
    assert {notes[f"<{tag}>"].verdict for tag in "uvwxyz"} == {NOT}
