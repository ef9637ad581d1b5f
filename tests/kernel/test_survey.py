import ctypes
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

from kernel.tiny_programs import TC, TC_ACT_UNSPEC, XDP, XDP_PASS, memory, program
from lan.as_found import as_found, differences

from l2mode.core.verdict import Delivery
from l2mode.kernel.host import HostAddresses
from l2mode.kernel.survey import survey
from l2mode.kernel.tc import TcFilter
from l2mode.kernel.xdp import XdpFilter

VIPS = (ip_address("192.0.2.50"), ip_address("2001:db8::50"))


def troubles(*vips):
    return [
        (found.level, found.message, found.remedy)
        for found in survey("eth0", vips or VIPS, Delivery.DIRECTED)
        if found.level != "info"
    ]


def give_up_sys_admin():
    """Take CAP_SYS_ADMIN (21) from this thread alone; see capget(2), version 3 of the interface."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = struct.pack("=Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    assert libc.capget(header, data) == 0
    lower, *rest = struct.unpack("=6I", data.raw)
    assert libc.capset(header, struct.pack("=6I", lower & ~(1 << 21), *rest)) == 0, ctypes.get_errno()


def set_up(server):
    record = server.record()
    HostAddresses(VIPS, "eth0", record, delivery=Delivery.DIRECTED).set_up()
    tiny = program(TC, TC_ACT_UNSPEC, "hcsidecar_tc")
    TcFilter(tiny, memory(), interface="eth0", farm="apache", record=record).attach()


def test_a_server_that_is_set_up_has_nothing_in_the_way(server):
    set_up(server)
    assert [(found.level, found.message) for found in survey("eth0", VIPS, Delivery.DIRECTED)] == [
        ("info", "eth0 is one end of a veth pair: right for directed delivery"),
        ("info", "192.0.2.50 is on lo"),
        ("info", "2001:db8::50 is on lo"),
        ("info", "arp_ignore = 1 and arp_announce = 2: the kernel does not speak for the virtual IPs"),
    ]


def test_to_look_changes_nothing(server):
    before = as_found(server)
    survey("eth0", VIPS, Delivery.DIRECTED)
    assert differences(before, as_found(server)) == []


def test_a_server_that_is_not_set_up_lacks_the_address_and_the_settings(server):
    assert troubles(VIPS[0]) == [
        (
            "error",
            "192.0.2.50 is not on lo: nothing here accepts it",
            "start hcsidecar here, which puts it there and keeps it",
        ),
        (
            "error",
            "arp_ignore = 0 and arp_announce = 0: the kernel itself speaks for the virtual IPs",
            "sysctl -w net/ipv4/conf/eth0/arp_ignore=1; sysctl -w net/ipv4/conf/eth0/arp_announce=2",
        ),
    ]


def test_what_would_stop_the_start_is_found(server):
    server.sh("ip -4 address flush dev eth0; ip link set lo down")
    messages = [message for level, message, _ in troubles() if level == "error"]
    assert messages[0].startswith("eth0 has no IPv4 address of its own")
    assert messages[1] == "lo is down"
    server.sh("ip link del eth0")
    assert [message for _, message, _ in troubles()] == ["there is no interface eth0"]


def test_a_virtual_ip_outside_of_the_interfaces_networks_needs_a_router(server):
    ((level, message, remedy),) = [
        trouble for trouble in troubles(ip_address("198.51.100.50")) if "router" in trouble[1]
    ]
    assert (level, remedy) == ("warning", "route it to eth0 at the router")
    assert message == "198.51.100.50 is in no network of eth0: clients there ask their router for it"


def test_strict_reverse_path_filtering_matters_where_replies_leave_elsewhere(server):
    set_up(server)
    server.sh("echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter; ip route add default via 192.0.2.1")
    assert troubles() == []
    server.sh(
        "ip link add eth1 type veth peer name eth2; ip link set eth1 up; ip address add 198.51.100.11/24 dev eth1;"
        "ip route replace default via 198.51.100.1"
    )
    assert troubles() == [
        (
            "warning",
            "rp_filter = 1: packets that come in at eth0 from clients behind eth1 are dropped",
            "sysctl -w net/ipv4/conf/eth0/rp_filter=2",
        )
    ]
    server.sh("echo 2 > /proc/sys/net/ipv4/conf/all/rp_filter")
    assert troubles() == []


def test_ipv6_that_is_switched_off_is_in_the_way_of_ipv6_only(server):
    server.sh("sysctl -qw net.ipv6.conf.lo.disable_ipv6=1")
    expected = ("error", "IPv6 is switched off on lo", "sysctl -w net/ipv6/conf/lo/disable_ipv6=0")
    assert expected in troubles()
    assert expected not in troubles(VIPS[0])


def test_programs_of_others_that_come_first_are_found(server):
    server.sh(
        "tc qdisc add dev eth0 clsact;"
        "tc filter add dev eth0 ingress protocol ip prio 1 u32 match ip dport 80 0xffff flowid 1:1;"
        "tc filter add dev eth0 ingress protocol ip prio 9 u32 match ip dport 80 0xffff flowid 1:1"
    )
    set_up(server)
    stranger = program(XDP, XDP_PASS, "stranger")
    server.directory = server.directory / "stranger"
    server.directory.mkdir()
    XdpFilter(stranger, memory(), generic=True, interface="eth0", record=server.record()).attach()
    warnings = [message for level, message, _ in troubles() if level == "warning"]
    assert [message.partition(" sees ")[0] for message in warnings] == [
        f"XDP program {stranger.number} (stranger) on eth0",
        "u32 at priority 1 on eth0",
    ]


def test_behind_an_xdp_filter_of_ours_nothing_comes_first(server):
    record = server.record()
    HostAddresses(VIPS, "eth0", record, delivery=Delivery.DIRECTED).set_up()
    server.sh(
        "tc qdisc add dev eth0 clsact;"
        "tc filter add dev eth0 ingress protocol ip prio 1 u32 match ip dport 80 0xffff flowid 1:1"
    )
    ours = program(XDP, XDP_PASS, "hcsidecar_xdp")
    XdpFilter(ours, memory(), generic=True, interface="eth0", record=record).attach()
    assert troubles() == []


def test_a_filter_of_ours_is_known_without_sys_admin(server):
    record = server.record()
    HostAddresses(VIPS, "eth0", record, delivery=Delivery.DIRECTED).set_up()
    ours = program(XDP, XDP_PASS, "hcsidecar_xdp")
    XdpFilter(ours, memory(), generic=True, interface="eth0", record=record).attach()
    with ThreadPoolExecutor(1, initializer=give_up_sys_admin) as powerless:
        assert powerless.submit(troubles).result() == []


def test_a_promiscuous_interface_is_mentioned(server):
    set_up(server)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as tap:
        membership = socket.if_nametoindex("eth0").to_bytes(4, "little") + b"\1\0" + bytes(10)
        tap.setsockopt(263, 1, membership)
        assert "eth0 is promiscuous: it hears what is for other machines too" in [
            found.message for found in survey("eth0", VIPS, Delivery.DIRECTED)
        ]
    assert troubles() == []
