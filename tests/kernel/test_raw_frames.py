"""The voice of the farm on a real network: clients with their kernels' neighbour tables, nodes on a Linux bridge."""

import asyncio
import os
import socket
from ipaddress import ip_address

import pytest
from daemons import wait_for
from lan.namespaces import configure, inside, made, run, set_kernel
from lan.site import VIP, site
from lan.speaking import hold_the_vips, speaking
from waiting import until

from l2mode.core.conflicts import REMEDY, Conflict
from l2mode.core.frames import announcement, parse, question
from l2mode.core.verdict import Delivery
from l2mode.kernel.errors import FilterError
from l2mode.kernel.interface import mac_of
from l2mode.kernel.probe import who_answers
from l2mode.kernel.raw_frames import READS_AT_ONCE, REST, RawFrames

VIPS = tuple(ip_address(vip) for vip in VIP.values())
BOTH = pytest.mark.parametrize("vip", VIPS, ids=["IPv4", "IPv6"])
DIRECTED, FLOODED = Delivery.DIRECTED, Delivery.FLOODED


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip("needs root, to make network namespaces")
    with site(tmp_path_factory.mktemp("site"), servers=("web1", "web2", "web3")) as network:
        # A client checks what it has cached after a moment instead of 5 s.
        for family in ("ipv4", "ipv6"):
            set_kernel(network.clients.namespace, {f"{family}/neigh/eth0/delay_first_probe_time": 1})
        yield network


@pytest.fixture
def directed(network):
    with speaking(network, VIPS, DIRECTED) as lan:
        yield lan


@pytest.fixture
def flooded(network):
    with speaking(network, VIPS, FLOODED) as lan:
        yield lan


@BOTH
def test_nobody_answers_while_nobody_was_told_a_view(directed, vip):
    with inside(directed.client):
        assert who_answers("eth0", vip, 0.3) == []


@BOTH
def test_a_client_finds_the_director(directed, vip):
    directed.agree("web2")
    assert directed.resolve(vip) == directed.macs["web2"]


@BOTH
def test_a_client_reaches_the_application_on_the_director(directed, vip):
    directed.agree("web2")
    assert "1 received" in run(directed.client, "ping", "-c", "1", "-W", "2", str(vip))


@BOTH
def test_a_client_finds_the_virtual_mac_which_the_switch_never_learns(flooded, vip):
    flooded.agree(None)
    assert flooded.resolve(vip) == flooded.virtual_mac
    known = flooded.switch_knows()
    assert set(flooded.macs.values()) <= known
    assert flooded.virtual_mac not in known


@BOTH
def test_a_check_of_the_virtual_mac_is_answered(flooded, vip):
    flooded.agree(None)
    flooded.remember(vip, flooded.virtual_mac, "probe")
    wait_for(lambda: flooded.neighbour(vip)[1] == ["REACHABLE"], what="the client's check has been answered")


STATES = [(vip, state) for vip in VIPS for state in ("reachable", "stale", "delay", "probe", "failed")]
# Linux ignores an unasked advertisement for an entry that has failed; the next packet makes it ask anew.
STATES.remove((VIPS[1], "failed"))


@pytest.mark.parametrize(("vip", "state"), STATES)
def test_a_new_director_is_known_at_once_whatever_the_client_had_cached(directed, vip, state):
    directed.agree("web1")
    directed.resolve(vip)
    directed.remember(vip, directed.macs["web1"], state)
    directed.agree("web2", view=("web2", "web3"), only=("web2", "web3"))
    assert directed.until_neighbour_is(vip, directed.macs["web2"]) < 0.5


@BOTH
def test_after_a_heal_the_director_wins_back_the_clients_of_the_other_part(directed, vip):
    directed.agree("web1", view=("web1",), only=("web1",))
    wait_for(lambda: directed.nodes["web3"].wire.heard == 6, what="web1 has announced both addresses three times")
    directed.remember(vip, directed.macs["web3"], "reachable")
    directed.agree("web1")
    directed.until_neighbour_is(vip, directed.macs["web1"], limit=0.5)


@BOTH
def test_a_former_director_that_lives_tells_its_clients_who_is_it_now(directed, vip):
    # web2 knows; web1 says nothing by itself, as when its announcements were lost.
    directed.agree("web1", only=("web2",))
    directed.remember(vip, directed.macs["web2"], "stale")
    directed.send(vip)
    directed.until_neighbour_is(vip, directed.macs["web1"])


@BOTH
def test_the_probe_of_the_check_shows_each_machine_that_answers(network, vip):
    with speaking(network, VIPS, DIRECTED) as directed, inside(directed.client):
        directed.agree("web3")
        (answer,) = who_answers("eth0", vip, 0.3)
        assert answer.mac == answer.source_mac == directed.macs["web3"]
        assert 0 < answer.milliseconds < 300
    with speaking(network, VIPS, FLOODED) as flooded, inside(flooded.client):
        flooded.agree(None)
        answers = who_answers("eth0", vip, 0.3)
        assert {answer.mac for answer in answers} == {flooded.virtual_mac}
        assert {answer.source_mac for answer in answers} == set(flooded.macs.values())


@BOTH
def test_the_probe_asks_without_an_address_too(network, vip):
    with speaking(network, VIPS, DIRECTED) as directed, inside(network.servers["web1"].namespace):
        directed.agree("web3")
        own = network.servers["web1"].addresses[vip.version]
        run(network.servers["web1"].namespace, "ip", "address", "flush", "dev", "eth0", "to", own)
        try:
            assert [answer.mac for answer in who_answers("eth0", vip, 0.3)] == [directed.macs["web3"]]
        finally:
            length = {4: 24, 6: 64}[vip.version]
            run(network.servers["web1"].namespace, "ip", "address", "add", f"{own}/{length}", "dev", "eth0")


def test_the_probe_says_that_its_interface_is_down(network):
    namespace = f"{network.clients.namespace}-down"
    with made([namespace]):
        configure(namespace, ["link add eth0 type veth peer name other"])
        with inside(namespace), pytest.raises(FilterError, match=r"eth0 is down or gone.*ip link set eth0 up"):
            who_answers("eth0", VIPS[0], 5)


@BOTH
def test_another_machine_with_the_address_is_told(directed, vip):
    directed.agree("web1")
    with inside(directed.client):
        mac = mac_of("eth0")
        wire = RawFrames("eth0", [vip], tell=lambda *_: None)
        wire.send([announcement(vip, mac=mac, source_mac=mac)])
        wire.close()
    text = f"{Conflict(vip=vip, mac=mac)}; {REMEDY}"
    wait_for(lambda: ("error", text) in directed.nodes["web2"].told, what="the conflict is told")


def test_that_the_interface_is_down_is_seen_here_and_told_by_the_conditions_alone(directed):
    directed.agree("web1")
    node = directed.nodes["web1"]
    namespace = node.host.namespace
    run(namespace, "ip", "link", "set", "eth0", "down")
    try:
        for view in (("web1", "web3"), ("web1",), ("web1", "web2")):
            directed.agree("web1", view=view, only=("web1",))
        wait_for(lambda: node.wire.failures > 1, what="sending has failed")
        assert node.wire.trouble == "eth0 is down or gone"
    finally:
        run(namespace, "ip", "link", "set", "eth0", "up")
        run(namespace, "ip", "route", "replace", "default", "via", "192.0.2.1")
    directed.agree("web1")
    wait_for(lambda: not node.wire.trouble, what="sending works again")
    assert node.told == []
    assert directed.resolve(VIPS[0]) == node.mac


def test_frames_that_the_kernel_refuses_are_told_once_and_that_it_sends_them_again_too(directed):
    told = []
    with inside(directed.client):
        mac = mac_of("eth0")
        wire = RawFrames("eth0", VIPS, tell=lambda level, message: told.append((level, message)))
        frame = announcement(VIPS[0], mac=mac, source_mac=mac)
        wire.send([frame.ljust(70_000, b"0")] * 2)
        assert [level for level, _ in told] == ["warning"]
        assert told[0][1].startswith("eth0 refuses frames (Message too long): ")
        wire.send([frame])
        wire.close()
    assert told[1:] == [("info", "eth0 carries the frames that answer for the virtual IPs again")]


def test_an_interface_that_was_removed_and_made_anew_is_heard_again(tmp_path):
    with site(tmp_path, servers=("web1",)) as other, speaking(other, VIPS, DIRECTED) as lan:
        node = lan.nodes["web1"]
        lan.agree("web1")
        run(node.host.namespace, "ip", "link", "delete", "eth0")
        node.repair()
        lan.agree("web1", view=("web1", "web2"))
        wait_for(lambda: node.wire.trouble, what="sending has failed")
        other._plug_in(node.host, "near")
        hold_the_vips(node.host, VIPS)
        node.repair()
        node.repair()
        lan.agree("web1")
        for vip in VIPS:
            assert lan.resolve(vip) == node.mac
        assert (node.wire.trouble, node.told) == ("", [])


# -- the sockets alone ----------------------------------------------------------------------------------------------


@pytest.fixture
def wires(network):
    """Sockets on web1 that nobody reads but the test, and the client's to send with."""
    opened = []

    def make(namespace, **more):
        with inside(namespace):
            opened.append(RawFrames("eth0", VIPS, tell=lambda *_: None, **more))
        return opened[-1]

    yield make
    for wire in opened:
        wire.close()


MAC = bytes.fromhex("060000000001")
VIRTUAL = bytes.fromhex("0a0000000001")


def asked(vip, to=None, *, mac=MAC):
    frame = question(source_mac=mac, asker=None, target=vip)
    return frame if to is None else to + frame[6:]


def heard(wire, count):
    """Give the frames that have come in, when there are so many."""
    frames = []

    def read():
        frames.extend(wire.read())
        return len(frames) >= count

    wait_for(read, what=f"{count} frames, not {len(frames)}")
    return frames


def send_as_is(host, frames):
    with inside(host.namespace), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
        opened.bind(("eth0", 0))
        for frame in frames:
            opened.send(frame)


def mac_in(host):
    with inside(host.namespace):
        return mac_of("eth0")


def test_only_what_is_about_the_virtual_ips_reaches_the_process(network, wires):
    here, client = wires(network.servers["web1"].namespace), wires(network.clients.namespace)
    mine, others = mac_in(network.servers["web1"]), mac_in(network.servers["web2"])
    strange = [ip_address("192.0.2.77"), ip_address("2001:db8::77")]
    run(network.servers["web1"].namespace, "ip", "link", "set", "eth0", "promisc", "on")
    try:
        client.send(asked(vip) for vip in strange)
        client.send([asked(strange[0], mine), asked(VIPS[0], others), asked(VIPS[1], others)])
        client.send([asked(VIPS[0], VIRTUAL), asked(VIPS[1], VIRTUAL)])
        redirect = bytearray(asked(VIPS[1]))
        redirect[54] = 137
        client.send([bytes(redirect)])
        in_vlan_5 = [frame[:12] + bytes.fromhex("81000005") + frame[12:] for frame in map(asked, VIPS)]
        send_as_is(network.clients, in_vlan_5)
        last = [asked(VIPS[0]), asked(VIPS[0], mine), asked(VIPS[1]), asked(VIPS[1], mine)]
        client.send(last)
        assert sorted(heard(here, 4)) == sorted(last)
    finally:
        run(network.servers["web1"].namespace, "ip", "link", "set", "eth0", "promisc", "off")


def test_what_claims_a_virtual_ip_reaches_the_process(network, wires):
    here, client = wires(network.servers["web1"].namespace), wires(network.clients.namespace)
    claims = [announcement(vip, mac=MAC, source_mac=MAC) for vip in VIPS]
    claims.append(question(source_mac=MAC, asker=VIPS[0], target=ip_address("192.0.2.77")))
    client.send(claims)
    assert sorted(heard(here, 3)) == sorted(claims)


def test_frames_for_the_virtual_mac_are_heard_in_flooded_delivery(network, wires):
    here = wires(network.servers["web1"].namespace, virtual_mac=VIRTUAL)
    client = wires(network.clients.namespace)
    others = mac_in(network.servers["web2"])
    run(network.servers["web1"].namespace, "ip", "link", "set", "eth0", "promisc", "on")
    try:
        client.send(
            [asked(VIPS[0], others), asked(VIPS[1], VIRTUAL[:4] + b"\0\2"), asked(VIPS[1], b"\2" + VIRTUAL[1:])]
        )
        last = [asked(vip, VIRTUAL) for vip in VIPS] + [asked(vip) for vip in VIPS]
        client.send(last)
        assert sorted(heard(here, 4)) == sorted(last)
    finally:
        run(network.servers["web1"].namespace, "ip", "link", "set", "eth0", "promisc", "off")


def test_a_node_does_not_hear_itself(network, wires):
    here, also_here = (wires(network.servers["web1"].namespace) for _ in range(2))
    client = wires(network.clients.namespace)
    here.send(asked(vip) for vip in VIPS)
    client.send([asked(VIPS[0])])
    assert heard(also_here, 1) == [asked(VIPS[0])]


def test_a_flood_is_read_in_portions(network, wires):
    here, client = wires(network.servers["web1"].namespace), wires(network.clients.namespace)
    client.send([asked(VIPS[0])] * 3 * READS_AT_ONCE)
    here.wait(5)
    assert len(here.read()) == READS_AT_ONCE
    assert len(here.read()) == READS_AT_ONCE


def test_a_flood_leaves_the_event_loop_time_between_portions(network, wires):
    here, client = wires(network.servers["web1"].namespace), wires(network.clients.namespace)
    client.send([asked(VIPS[0])] * 3 * READS_AT_ONCE)

    async def listen():
        loop, taken = asyncio.get_running_loop(), []
        here.listen(loop, lambda _: taken.append(loop.time()))
        await until(lambda: len(taken) == 3 * READS_AT_ONCE)
        here.close()
        return taken[-1] - taken[0]

    assert asyncio.run(listen()) >= 2 * REST


def test_the_interface_hears_more_only_as_long_as_the_sockets_live(network):
    namespace = network.servers["web1"].namespace

    def hears():
        return run(namespace, "ip", "maddress", "show", "dev", "eth0"), run(namespace, "bridge", "fdb", "show")

    before = hears()
    with inside(namespace):
        wire = RawFrames("eth0", VIPS, tell=lambda *_: None, virtual_mac=VIRTUAL)
    assert "ff02::1:ff00:100" in hears()[0]
    assert VIRTUAL.hex(":") in hears()[1]
    wire.close()
    wire.close()
    assert hears() == before


def test_an_interface_that_is_not_there_is_refused_with_a_remedy(network):
    with inside(network.clients.namespace), pytest.raises(FilterError) as refused:
        RawFrames("eth7", VIPS, tell=lambda *_: None)
    assert "eth7" in refused.value.problem
    assert "eth7" in refused.value.remedy


def test_an_interface_too_narrow_for_ipv6_is_refused_with_a_remedy(network):
    narrow = f"{network.clients.namespace}-narrow"
    with made([narrow]):
        configure(narrow, ["link add eth0 mtu 1000 type veth peer name other", "link set eth0 up"])
        with inside(narrow), pytest.raises(FilterError) as refused:
            RawFrames("eth0", VIPS, tell=lambda *_: None)
    assert "MTU of 1280 bytes or more on eth0" in refused.value.remedy


def test_the_frames_heard_are_whole(network, wires):
    here, client = wires(network.servers["web1"].namespace), wires(network.clients.namespace)
    client.send([asked(VIPS[1])])
    (frame,) = heard(here, 1)
    assert parse(frame).target == VIPS[1]
