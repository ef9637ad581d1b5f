"""Checks that ask the kernel, in network namespaces: ping and interface."""

import asyncio
import contextlib
import threading

import pytest
from lan.namespaces import configure, inside, run, set_kernel
from pyroute2 import AsyncIPRoute
from running_checks import running_checks
from waiting import turns_beside, until

from hcsidecar.application.checkers import ping
from hcsidecar.application.checkers.interface import InterfaceWatch
from hcsidecar.core.farmfile.farm_file import InterfaceCheck, PingCheck

ADDRESSES = "192.0.2.1", "2001:db8::1"


def ping_check(address, **options):
    return PingCheck(type="ping", name="ROUTER", address=address, **options)


def interface_check(**options):
    return InterfaceCheck(type="interface", name="NET", **({"interval": 3600, "timeout": 5} | options))


@contextlib.asynccontextmanager
async def checking(check):
    reports = []
    async with running_checks(check, report=lambda name, complaint: reports.append(complaint)) as running:
        running.begin(1)
        yield running, reports


@pytest.fixture
def router(server):
    """The server's router, which answers at 192.0.2.1 and 2001:db8::1."""
    configure(
        server.network,
        ["address add 192.0.2.1/24 dev peer0", "address add 2001:db8::1/64 dev peer0 nodad"],
    )
    # The kernel gives up looking for a neighbour after 0.1 s instead of 3 s.
    for family in ("ipv4", "ipv6"):
        quick = {f"{family}/neigh/eth0/mcast_solicit": 1, f"{family}/neigh/eth0/retrans_time_ms": 100}
        set_kernel(server.namespace, quick)
    return server


async def once(check):
    async with asyncio.timeout(5):
        return await ping.probe(check)


# Ping


@pytest.mark.parametrize("address", [*ADDRESSES, "192.0.2.11", "2001:db8::11", "127.0.0.1", "::1"])
def test_an_address_that_answers_passes(router, address):
    assert asyncio.run(once(ping_check(address))) is None


@pytest.mark.parametrize("address", ADDRESSES)
def test_users_whose_group_may_ping_need_no_capability(router, address):
    script = f"""
import asyncio
from hcsidecar.application.checkers import ping
from hcsidecar.core.farmfile.farm_file import PingCheck
print(asyncio.run(ping.probe(PingCheck(type="ping", name="ROUTER", address={address!r}, timeout=5))))
"""
    assert router.run_without(["net_raw"], script).strip() == ping.NOT_PERMITTED
    set_kernel(router.namespace, {"ipv4/ping_group_range": "0 2147483647"})
    assert router.run_without(["net_raw"], script).strip() == "None"


@pytest.mark.parametrize("ordinary", [False, True])
@pytest.mark.parametrize("address", ["192.0.2.99", "2001:db8::99"])
def test_an_address_that_nobody_has_is_a_failure_with_the_kernels_word(router, address, ordinary):
    if ordinary:
        set_kernel(router.namespace, {"ipv4/ping_group_range": "0 2147483647"})
    assert asyncio.run(once(ping_check(address))) == "no route to host"


def test_a_network_without_a_route_is_a_failure_at_once(router):
    assert asyncio.run(once(ping_check("198.51.100.1"))) == "network is unreachable"


@pytest.mark.parametrize("ordinary", [False, True])
def test_one_that_is_silent_fails_at_the_timeout(router, ordinary):
    if ordinary:
        set_kernel(router.namespace, {"ipv4/ping_group_range": "0 2147483647"})
    set_kernel(router.network, {"ipv4/icmp_echo_ignore_all": 1})

    async def scene():
        async with checking(ping_check("192.0.2.1", timeout=0.2)) as (_, reports):
            await until(lambda: reports, what="the attempt")
        assert reports == ["no answer within 200ms"]

    asyncio.run(scene())


def test_many_that_ping_at_once_do_not_take_each_others_answers(router):
    async def scene():
        checks = [ping_check(address) for address in ADDRESSES] * 20
        silent = ping_check("192.0.2.99")
        return await asyncio.gather(*map(once, checks), once(silent))

    *answers, silent = asyncio.run(scene())
    assert answers == [None] * 40
    assert silent == "no route to host"


# Interface


async def look(check):
    async with asyncio.timeout(10), InterfaceWatch(check) as watch:
        return await watch.probe()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"interface": "eth0"}, None),
        ({"interface": "lo"}, None),
        ({"address": "192.0.2.11"}, None),
        ({"address": "2001:db8::11"}, None),
        ({"address": "127.0.0.1"}, None),
        ({"interface": "eth0", "address": "192.0.2.11"}, None),
        ({"interface": "eth1"}, "there is no interface eth1"),
        ({"address": "192.0.2.12"}, "no interface has 192.0.2.12"),
        ({"interface": "lo", "address": "192.0.2.11"}, "lo does not have 192.0.2.11"),
    ],
)
def test_an_interface_is_up_and_has_its_address(server, options, reason):
    assert asyncio.run(look(interface_check(**options))) == reason


async def told(server, check, change, reason):
    """Let something change and wait for what the check says then; its interval is an hour."""
    async with checking(check) as (_, reports):
        await until(lambda: reports, what="the first attempt")
        assert reports == [None]
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(configure, *change)
        began = loop.time()
        await until(lambda: len(reports) > 1, what="the second attempt")
        took = loop.time() - began
        assert reports[1] == reason
        return took


@pytest.mark.parametrize(
    ("options", "line", "reason"),
    [
        ({"interface": "eth0"}, "link set eth0 down", "eth0 is switched off"),
        ({"interface": "eth0"}, "link delete eth0", "there is no interface eth0"),
        ({"address": "192.0.2.11"}, "address delete 192.0.2.11/24 dev eth0", "no interface has 192.0.2.11"),
        ({"address": "2001:db8::11"}, "address delete 2001:db8::11/64 dev eth0", "no interface has 2001:db8::11"),
        (
            {"interface": "eth0", "address": "192.0.2.11"},
            "address flush dev eth0",
            "eth0 does not have 192.0.2.11",
        ),
        ({"address": "192.0.2.11"}, "link set eth0 down", "eth0 is switched off"),
    ],
)
def test_a_change_is_told_at_once_and_not_at_the_next_attempt(server, options, line, reason):
    assert asyncio.run(told(server, interface_check(**options), (server.namespace, [line]), reason)) < 2


def test_an_interface_that_gets_another_name_is_missed(server):
    async def story():
        async with checking(interface_check(interface="eth0")) as (_, reports):
            await until(lambda: reports == [None], what="the first attempt")
            # Linux 6.1 renames none that is up.
            await asyncio.to_thread(configure, server.namespace, ["link set eth0 down", "link set eth0 name eth7"])
            await until(lambda: reports[-1] == "there is no interface eth0", what="the news of the name")

    asyncio.run(story())


def test_a_cable_that_is_pulled_at_the_other_end_is_told_at_once(server):
    change = (server.network, ["link set peer0 down"])
    assert asyncio.run(told(server, interface_check(interface="eth0"), change, "eth0 has no carrier")) < 2


def test_what_comes_back_is_told_at_once_too(server):
    async def scene():
        async with checking(interface_check(interface="eth0")) as (_, reports):
            await until(lambda: reports, what="the first attempt")
            await asyncio.to_thread(configure, server.namespace, ["link set eth0 down"])
            await until(lambda: len(reports) == 2, what="the end of the link")
            await asyncio.to_thread(configure, server.namespace, ["link set eth0 up"])
            await until(lambda: len(reports) == 3, what="its return")
            assert reports == [None, "eth0 is switched off", None]

    asyncio.run(scene())


def test_what_changes_elsewhere_counts_as_no_attempt(server):
    async def scene():
        check = interface_check(interface="eth0", fall=2, pending_interval=3600)
        async with checking(check) as (_, reports):
            await until(lambda: reports, what="the first attempt")
            await asyncio.to_thread(configure, server.namespace, ["link set eth0 down"])
            await until(lambda: len(reports) == 2, what="the second attempt")
            lines = ["link add other type veth peer name another", "link set other up", "link delete other"]
            await asyncio.to_thread(configure, server.namespace, lines)
            await asyncio.to_thread(configure, server.namespace, ["link set eth0 up"])
            await until(lambda: len(reports) == 3, what="the third attempt")
            # Two bad attempts in a row would have made it fail.
            assert reports == [None, None, None]

    asyncio.run(scene())


def test_a_storm_of_news_does_not_hold_up_the_loop_and_the_next_change_is_told(server):
    lines = [f"address add 198.51.{100 + i // 250}.{1 + i % 250}/32 dev lo" for i in range(2000)]

    async def scene():
        async with checking(interface_check(address="192.0.2.11")) as (_, reports):
            await until(lambda: reports, what="the first attempt")
            storm = asyncio.to_thread(configure, server.namespace, lines)
            _, turns = await turns_beside(storm, AsyncIPRoute.get)
            assert turns > 0
            assert reports == [None]
            await asyncio.to_thread(configure, server.namespace, ["address delete 192.0.2.11/24 dev eth0"])
            await until(lambda: len(reports) > 1, limit=20, what="the end of the address")
            assert reports[1] == "no interface has 192.0.2.11"

    asyncio.run(scene())


def test_threads_of_a_watch_end_with_it(server):
    async def scene():
        async with checking(interface_check(interface="eth0")) as (running, reports):
            for number in range(2, 12):
                running.begin(number)
                await asyncio.sleep(0)
            await until(lambda: reports, what="an attempt")
            running.begin(None)
            await until(
                lambda: all(thread.name != "interface check" for thread in threading.enumerate()), what="their end"
            )

    asyncio.run(scene())
    with inside(server.namespace):
        assert "eth0" in run(server.namespace, "ip", "link")
