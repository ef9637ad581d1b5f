"""Whether the loss of each condition is seen on a real machine, and mended where it can be."""

import asyncio
import shutil

import pytest
from daemons import wait_for
from kernel.test_host_setup import set_up
from lan.namespaces import run

from l2mode.kernel.watch import NetworkWatch

LOST = {
    "the interface is renamed": (
        "ip link set eth0 down; ip link set eth0 name eth7",
        "ip link set eth7 name eth0; ip link set eth0 up; ip address replace 2001:db8::11/64 dev eth0 nodad",
        "there is no interface eth0",
    ),
    "a port of a bridge": (
        "ip link add br0 type bridge; ip link set eth0 master br0",
        "ip link set eth0 nomaster; ip link del br0",
        "eth0 is a port of br0, which receives its frames",
    ),
    "ARP off": ("ip link set eth0 arp off", "ip link set eth0 arp on", "eth0 has ARP switched off"),
    "down": (
        "ip link set eth0 down",
        "ip link set eth0 up; ip address replace 2001:db8::11/64 dev eth0 nodad",
        "eth0 is down",
    ),
    "no IPv4 address": (
        "ip address del 192.0.2.11/24 dev eth0",
        "ip address add 192.0.2.11/24 dev eth0",
        "eth0 has no IPv4 address of its own",
    ),
    "no IPv6 address": (
        "ip address del 2001:db8::11/64 dev eth0",
        "ip address add 2001:db8::11/64 dev eth0 nodad",
        "eth0 has no IPv6 address of its own",
    ),
    "an MTU without IPv6": (
        "ip link set eth0 mtu 1000",
        "ip link set eth0 mtu 1500; ip address add 2001:db8::11/64 dev eth0 nodad",
        "eth0 has no IPv6 address of its own",
    ),
    "a VIP on the interface": (
        "ip address add 192.0.2.50/24 dev eth0",
        "ip address del 192.0.2.50/24 dev eth0",
        "the virtual IP 192.0.2.50 is an address of eth0 already",
    ),
    "another address than the node's": (
        "ip address add 192.0.2.99/32 dev eth0; ip address del 192.0.2.11/24 dev eth0",
        "ip address add 192.0.2.11/24 dev eth0",
        "this machine no longer has an address of the node (192.0.2.11)",
    ),
    "lo down": ("ip link set lo down", "ip link set lo up", "lo is down"),
    "no IPv6 on lo": (
        "echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6",
        "echo 0 > /proc/sys/net/ipv6/conf/lo/disable_ipv6",
        "the virtual IP 2001:db8::50 cannot be put on lo",
    ),
}

MENDED = {
    "a VIP": ("ip address del 192.0.2.50/32 dev lo", "192.0.2.50 was removed from lo: put back"),
    "a sysctl": ("echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_ignore", "arp_ignore of eth0 was 0: now 1"),
    "the filter": ("tc filter del dev eth0 ingress", "the packet filter was removed from eth0: put back"),
    "its qdisc": ("tc qdisc del dev eth0 clsact", "the packet filter was removed from eth0: put back"),
}


@pytest.fixture
def host_setup(server):
    with set_up(server, "tc") as made:
        assert made.repair() == ()
        server.told.clear()
        yield made


def problems(host_setup):
    return [obstacle.problem for obstacle in host_setup.repair()]


@pytest.mark.parametrize("how", LOST)
def test_what_is_lost_is_said_first_and_over_when_it_is_back(server, host_setup, how):
    lose, give_back, why = LOST[how]
    server.sh(lose)
    first, *_ = host_setup.repair()
    assert first.problem.startswith(why)
    assert first.remedy
    server.sh(give_back)
    problems(host_setup)
    assert problems(host_setup) == []


def test_a_cable_that_is_pulled_is_seen(server, host_setup):
    run(server.network, "ip", "link", "set", "peer0", "down")
    assert problems(host_setup) == ["eth0 has no carrier"]
    run(server.network, "ip", "link", "set", "peer0", "up")
    wait_for(lambda: problems(host_setup) == [], what="the carrier")


@pytest.mark.parametrize("how", MENDED)
def test_what_can_be_put_back_is_put_back_at_once_and_told_in_one_line(server, host_setup, how):
    undo, told = MENDED[how]
    server.sh(undo)
    assert problems(host_setup) == []
    assert server.told == [("warning", told)]
    assert problems(host_setup) == []


@pytest.mark.parametrize(
    "change",
    [
        "ip address del 192.0.2.11/24 dev eth0",
        "ip link set eth0 mtu 1400",
        "tc filter del dev eth0 ingress",
        "ip address del 192.0.2.50/32 dev lo",
    ],
)
def test_the_kernel_tells_of_a_change_at_once(server, host_setup, change):
    async def hear():
        heard = asyncio.Event()
        watch = NetworkWatch(asyncio.get_running_loop(), heard.set)
        try:
            server.sh(change)
            async with asyncio.timeout(10):
                await heard.wait()
        finally:
            watch.close()
            watch.close()

    asyncio.run(hear())


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")
def test_the_kernel_tells_of_rules_too_where_the_filter_is_made_of_them(server):
    async def hear():
        heard = asyncio.Event()
        watch = NetworkWatch(asyncio.get_running_loop(), heard.set, rules=True)
        try:
            server.sh("nft add table ip filter; nft flush ruleset")
            async with asyncio.timeout(10):
                await heard.wait()
        finally:
            watch.close()

    asyncio.run(hear())


def test_more_news_than_fit_are_news_as_well(server):
    async def hear():
        heard = asyncio.Event()
        watch = NetworkWatch(asyncio.get_running_loop(), heard.set)
        try:
            server.sh("for n in $(seq 300); do echo link set eth0 mtu $((1300 + n)); done | ip -batch -")
            async with asyncio.timeout(10):
                await heard.wait()
            heard.clear()
            server.sh("ip link set eth0 mtu 1500")
            async with asyncio.timeout(10):
                await heard.wait()
        finally:
            watch.close()

    asyncio.run(hear())
