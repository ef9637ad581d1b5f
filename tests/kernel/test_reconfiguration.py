"""Other settings in a running kernel: what clients see of it, what is left of it, and what a refusal changes."""

import asyncio
import contextlib
import dataclasses
import socket
import threading
import time
from ipaddress import ip_address

import pytest
from kernel.test_packet_filter import VIP, answered, ping_vip
from lan.as_found import as_found, differences
from lan.namespaces import inside, run
from waiting import until

from l2mode.core.settings import By, LayerTwoSettings, Protocol, ShareGroup, Unmatched
from l2mode.core.verdict import Delivery
from l2mode.kernel.errors import FilterError
from l2mode.share import LayerTwo

OTHER_VIP, VIP6 = ip_address("192.0.2.51"), ip_address("2001:db8::50")
WEB = ShareGroup(name="WEB", protocol=Protocol.TCP, ports=(80,))
SHELL = ShareGroup(name="SHELL", protocol=Protocol.TCP, ports=(22,), by=By.PORT)
DNS = ShareGroup(name="DNS", protocol=Protocol.UDP, ports=(53,), vip=OTHER_VIP)
FIRST = LayerTwoSettings(
    farm="apache", me="web2", nodes=("web2",), vips=(VIP,), groups=(WEB,), seed=bytes(16), digest=b"0"
)
CHANGES = (
    {"groups": (SHELL, WEB)},
    {"vips": (OTHER_VIP, VIP), "groups": (DNS, WEB)},
    {"nodes": ("web1", "web2", "web3")},
    {"vips": (VIP, VIP6)},
    {"groups": (dataclasses.replace(WEB, ports=(80, 443)),), "unmatched": Unmatched.DIRECTOR},
)


class Clients(threading.Thread):
    """Opens one connection after the other from the network, and asks on another one that it keeps."""

    def __init__(self, network):
        super().__init__()
        self.network, self.served, self.failed = network, 0, []
        self._ends = threading.Event()

    def run(self):
        with inside(self.network), socket.create_connection((str(VIP), 80), timeout=10) as kept:
            while not self._ends.is_set():
                try:
                    kept.sendall(b"?")
                    assert kept.recv(1) == b"!"
                    with socket.create_connection((str(VIP), 80), timeout=10) as once:
                        once.sendall(b"?")
                        assert once.recv(1) == b"!"
                except (OSError, AssertionError) as error:
                    self.failed.append(repr(error))
                    return
                self.served += 1

    def end(self):
        self._ends.set()
        self.join(20)


class Answers:
    """Answers each byte that a client sends; knows which connections are open."""

    def __init__(self):
        self.open = 0

    async def __call__(self, reader, writer):
        self.open += 1
        try:
            while await reader.read(1):
                writer.write(b"!")
        finally:
            writer.close()
            self.open -= 1


def changed(number, **more):
    """Give the settings after so many changes: each differs from the one before."""
    return dataclasses.replace(FIRST, digest=bytes([number]), **CHANGES[number % len(CHANGES)], **more)


@contextlib.asynccontextmanager
async def layer_two(server, wanted, settings):
    share = LayerTwo(
        settings,
        interface="eth0",
        address="192.0.2.11",
        own_addresses=("192.0.2.11",),
        wanted_filter=wanted,
        directory=server.directory,
        tell=server.tell,
        changed=lambda: None,
        obstructed=lambda _: None,
    )
    await share.open()
    running = asyncio.create_task(share.run())
    try:
        claim(share)
        yield share
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await share.close()


def claim(share):
    """Do what membership does after a change on a node that is alone."""
    share.adopt((("web2", (1,) * len(share.settings.groups)),))
    share.claim()
    share.renew(time.monotonic() + 3600)


async def change(share, settings):
    await share.reconfigure(settings)
    claim(share)


@pytest.mark.parametrize("delivery", Delivery)
@pytest.mark.parametrize(("wanted", "times"), [("tc", 20), ("xdp", 20), ("nfqueue", 6)])
def test_clients_of_what_stays_see_nothing_of_many_changes(server, wanted, times, delivery):
    run(server.network, "ip", "address", "replace", "192.0.2.1/24", "dev", "peer0")
    found = as_found(server)
    clients, answers = Clients(server.network), Answers()

    async def live():
        first = dataclasses.replace(FIRST, delivery=delivery)
        async with layer_two(server, wanted, first) as share, await asyncio.start_server(answers, "", 80):
            clients.start()
            await until(lambda: clients.served > 5 or clients.failed, limit=20, what="the first answers")
            for number in range(times):
                served, settings = clients.served, changed(number, delivery=delivery)
                await change(share, settings)
                there = {ip_address(each.partition("/")[0]) for each in server.addresses_of("lo")}
                assert there & {VIP, OTHER_VIP, VIP6} == set(settings.vips)
                await until(lambda served=served: clients.served > served + 2 or clients.failed, what="answers")
            await asyncio.to_thread(clients.end)
            # Each connection is closed here too before the loop ends, also on a slow machine.
            await until(lambda: not answers.open, limit=20, what="the end of all connections")
            assert sum(share.packets().values()) > clients.served

    try:
        asyncio.run(live())
    finally:
        clients.end()
    assert clients.failed == []
    assert differences(found, as_found(server)) == []


REFUSED = {
    "the address is on the interface": ("ip address add 192.0.2.51/24 dev eth0", {"vips": (VIP, OTHER_VIP)}),
    "the address is refused": ("echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6", {"vips": (VIP6,)}),
}


@pytest.mark.parametrize("wanted", ["tc", "xdp", "nfqueue"])
@pytest.mark.parametrize("why", REFUSED)
def test_a_change_that_is_refused_leaves_all_as_it_was(server, wanted, why):
    spoil, refused = REFUSED[why]

    async def live():
        async with layer_two(server, wanted, FIRST) as share, await asyncio.start_server(Answers(), "", 80):
            server.sh(spoil)
            found = as_found(server)
            with pytest.raises(FilterError):
                await share.reconfigure(dataclasses.replace(FIRST, digest=b"1", **refused))
            assert share.settings == FIRST
            assert [each for each in differences(found, as_found(server)) if '"handle": ' not in each] == []
            claim(share)
            pinged = await asyncio.to_thread(answered, ping_vip(server, "-c2", "-i0.1", "-W2"))
            assert pinged == 2

    asyncio.run(live())


HALFWAY = """
from kernel.test_reconfiguration import FIRST, changed
from l2mode.host_setup import HostSetup
made = HostSetup(FIRST, interface="eth0", address="192.0.2.11", own_addresses=(), wanted_filter={wanted!r},
                 directory=record._path.parent, tell=print)
made.set_up()
new = made.prepare(changed(1))
new.filter.attach()
"""


@pytest.mark.parametrize("wanted", ["tc", "xdp", "nfqueue"])
def test_after_a_kill_in_the_middle_of_a_change_everything_is_put_back(server, wanted):
    before = as_found(server)
    server.run_killed(HALFWAY.format(wanted=wanted))
    server.record().restore()
    assert differences(before, as_found(server)) == []
