"""The harness of these tests by itself: a site whose first server holds the virtual IP as any machine would."""

import os
import socket
import time
from pathlib import Path

import pytest
from daemons import wait_for
from lan.as_found import as_found, differences
from lan.bulk import download
from lan.capture import capture
from lan.namespaces import configure, inside, processes_in, run
from lan.site import NARROW_MTU, VIP, site
from lan.traffic import Failure, crowd
from lan.web import UDP_PORT, datagram_echo, web_servers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


def hold_the_vip(server):
    configure(server.namespace, [f"addr add {VIP[4]}/32 dev eth0", f"addr add {VIP[6]}/128 dev eth0 nodad"])


@pytest.mark.parametrize("family", [4, 6])
def test_every_client_is_served_by_the_server_that_holds_the_address(tmp_path, family):
    with site(tmp_path) as lan, web_servers(lan), crowd(lan.clients) as clients:
        hold_the_vip(lan.servers["web2"])
        addresses = lan.clients.clients(300, family)
        with capture(lan.servers.values()) as seen:
            load = clients.newcomers(VIP[family], addresses, rate=400)
            load.wait_for_more(400)
            clients.end(load)
            assert load.failed == []
            assert load.served_clients(since=0) == set(addresses)
            assert set(load.served()) == {"web2"}
            accepted = seen.accepted()
            assert {attempt[:2] for attempt in accepted} == {(done.client, done.port) for done in load.attempts}
            assert set(map(frozenset, accepted.values())) == {frozenset({"web2"})}
            assert seen.twice_accepted() == {}


def test_the_harness_sees_two_answers_to_one_opening(tmp_path):
    with site(tmp_path) as lan, web_servers(lan), capture(lan.servers.values()) as seen, crowd(lan.clients) as clients:
        # Two hold the address, and the switch floods what is for the MAC of both.
        for name in ("web1", "web2"):
            lan.never_learn(name)
            hold_the_vip(lan.servers[name])
            configure(lan.servers[name].namespace, ["link set eth0 address 02:00:00:00:00:50"])
        load = clients.newcomers(VIP[4], lan.clients.clients(5), rate=50, timeout=1)
        load.wait_for_more(5)
        clients.end(load)
        assert set(map(frozenset, seen.twice_accepted().values())) == {frozenset({"web1", "web2"})}


def test_a_cut_cable_is_felt_and_healed(tmp_path):
    with site(tmp_path) as lan, web_servers(lan), crowd(lan.clients) as clients:
        hold_the_vip(lan.servers["web1"])
        regulars = clients.regulars(VIP[4], lan.clients.clients(20), every=0.05, timeout=30)
        load = clients.newcomers(VIP[4], lan.clients.clients(50), rate=200, timeout=0.1)
        load.wait_for_more(50)
        assert load.failed == []
        lan.cut("web1")
        wait_for(lambda: len(load.failed) >= 20)
        assert {attempt.failure for attempt in load.failed} <= {Failure.TIMEOUT, Failure.UNREACHABLE}
        lan.plug("web1")
        plugged = time.monotonic()
        wait_for(lambda: len(load.served_clients(since=plugged)) == 50)
        regulars.wait_for_answers(2)
        assert regulars.failed == []


def test_clients_on_either_side_of_a_parted_switch_reach_only_their_side(tmp_path):
    with site(tmp_path, servers=("web1",), far=("web2",)) as lan, web_servers(lan):
        hold_the_vip(lan.servers["web1"])
        with crowd(lan.far_clients) as clients:
            load = clients.newcomers(VIP[6], lan.far_clients.clients(20, 6), rate=100, timeout=0.2)
            load.wait_for_more(20)
            assert load.failed == []
            lan.partition()
            wait_for(lambda: load.failed)
            lan.heal()
            healed = time.monotonic()
            wait_for(lambda: load.served_clients(since=healed))


def test_a_refused_and_a_reset_connection_are_told_apart(tmp_path):
    with site(tmp_path, servers=("web1",)) as lan, crowd(lan.clients) as clients:
        hold_the_vip(lan.servers["web1"])
        with web_servers(lan):
            regulars = clients.regulars(VIP[4], lan.clients.clients(5), every=0.01)
        wait_for(lambda: len(regulars.failed) == 5)
        assert {regular.failure for regular in regulars.failed} <= {Failure.CLOSED, Failure.RESET}
        load = clients.newcomers(VIP[4], lan.clients.clients(5), rate=100)
        load.wait_for_more(5)
        assert {attempt.failure for attempt in load.attempts} == {Failure.REFUSED}


@pytest.mark.parametrize("family", [4, 6])
def test_datagrams_come_back_with_the_name_of_the_server(tmp_path, family):
    with site(tmp_path) as lan, datagram_echo(lan.servers.values(), VIP.values()):
        hold_the_vip(lan.servers["web3"])
        with inside(lan.clients.namespace):
            client = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
        with client:
            client.settimeout(5)
            client.bind((lan.clients.clients(1, family)[0], 0))
            client.connect((VIP[family], UDP_PORT))
            client.send(b"hello")
            assert client.recv(100) == b"web3 hello"


@pytest.mark.parametrize("family", [4, 6])
def test_who_lives_behind_the_narrow_router_gets_large_pages(tmp_path, family):
    with site(tmp_path, servers=("web1",)) as lan, web_servers(lan) as servers:
        hold_the_vip(lan.servers["web1"])
        (servers["web1"].files / "large").write_bytes(bytes(300_000))
        client = lan.narrow.clients(1, family)[0]
        assert len(download(lan.narrow, client, VIP[family], "large")) == 300_000
        route = run(lan.servers["web1"].namespace, "ip", "route", "get", client)
        assert f"mtu {NARROW_MTU}" in route, "the server has not been told of the narrow link"


def test_a_network_that_nobody_touched_is_left_as_found(tmp_path):
    with site(tmp_path, servers=("web1",)) as lan:
        server = lan.servers["web1"]
        before = as_found(server)
        assert all(before[about] for about in ("addresses", "routes", "queueing", "kernel parameters"))
        assert differences(before, as_found(server)) == []
        hold_the_vip(server)
        run(server.namespace, "tc", "qdisc", "add", "dev", "eth0", "clsact")
        run(server.namespace, "sysctl", "-w", "net.ipv4.conf.eth0.arp_ignore=1")
        told = "\n".join(differences(before, as_found(server)))
        assert "addresses: " in told
        assert "queueing: " in told
        assert "kernel parameters: -net.ipv4.conf.eth0.arp_ignore = 0" in told


def test_nothing_of_a_site_remains_even_after_a_failure(tmp_path):
    def fail():
        with site(tmp_path) as lan, web_servers(lan):
            built.append(lan)
            assert processes_in(lan.servers["web1"].namespace)
            raise ZeroDivisionError

    built = []
    with pytest.raises(ZeroDivisionError):
        fail()
    (lan,) = built
    assert not [name for name in lan.namespaces if Path("/run/netns", name).exists()]
