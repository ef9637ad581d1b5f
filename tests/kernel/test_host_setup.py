import contextlib

import pytest
from kernel.test_packet_filter import SETTINGS
from kernel.tiny_programs import XDP, XDP_PASS, program
from lan.as_found import as_found, differences

from l2mode.host_setup import HostSetup
from l2mode.kernel.netlink import route
from l2mode.kernel.tc import index_of

GENERIC = 2


@contextlib.contextmanager
def set_up(server, wanted):
    made = HostSetup(
        SETTINGS,
        interface=None,
        address="192.0.2.11",
        own_addresses=["192.0.2.11"],
        wanted_filter=wanted,
        directory=server.directory,
        tell=lambda level, message: server.told.append((level, message)),
    )
    made.set_up()
    try:
        yield made
    finally:
        made.take_down()


@pytest.fixture
def host_setup(server):
    with set_up(server, "xdp") as made:
        yield made


def set_xdp(fd):
    with route() as ip:
        ip.link("set", index=index_of("eth0"), xdp={"attrs": [("IFLA_XDP_FD", fd), ("IFLA_XDP_FLAGS", GENERIC)]})


def test_without_a_filter_in_front_the_virtual_ips_go_until_there_is_one_again(server, host_setup):
    stranger = program(XDP, XDP_PASS, "stranger")
    set_xdp(stranger.fd)
    (obstacle,) = host_setup.repair()
    assert obstacle.problem.startswith(f"eth0 has an XDP program {stranger.number} (stranger) already")
    assert "192.0.2.50/32" in server.addresses_of("lo")
    assert host_setup.repair() == (obstacle,)
    assert "192.0.2.50/32" not in server.addresses_of("lo")
    set_xdp(-1)
    server.told.clear()
    assert host_setup.repair() == ()
    assert "192.0.2.50/32" in server.addresses_of("lo")
    assert server.told[0] == ("warning", "the packet filter was removed from eth0: put back")


def test_a_repair_that_comes_after_the_end_changes_nothing(server, host_setup):
    host_setup.take_down()
    ended = as_found(server)
    host_setup.repair()
    assert differences(ended, as_found(server)) == []


def test_another_mac_of_the_interface_is_noticed(server, host_setup):
    server.sh("ip link set eth0 address 02:00:00:00:00:09")
    host_setup.repair()
    assert host_setup.mac.hex(":") == "02:00:00:00:00:09"


def test_what_comes_into_the_filters_way_is_told_once(server):
    stranger = "dev eth0 ingress protocol ip prio 1"
    match = "u32 match ip dport 80 0xffff flowid 1:1"
    server.sh(f"tc qdisc add dev eth0 clsact; tc filter add {stranger} {match}")
    with set_up(server, "tc") as host_setup:
        first = (
            "warning",
            "u32 at priority 1 on eth0 comes before this filter: what it lets through is not shared out",
        )
        assert server.told == [first]
        host_setup.repair()
        assert server.told == [first]
        server.sh(f"tc filter del {stranger}")
        host_setup.repair()
        server.sh(f"tc filter add {stranger} {match}")
        host_setup.repair()
        assert server.told == [first, first]
