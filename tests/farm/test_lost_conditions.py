"""A node that can no longer serve the virtual IPs leaves them to the others, says why, and comes back by itself."""

import time

import pytest
from daemons import wait_for
from lan.namespaces import run
from lan.stage import needs_root, stage
from lan.stories import Combination

pytestmark = needs_root

DIRECTED = Combination(delivery="directed", packet_filter="tc", family=4)
NO_ADDRESS = "eth0 has no IPv4 address of its own"
NO_ADDRESS_6 = "eth0 has no IPv6 address of its own"


class Own:
    """The own addresses of a server, and its ways out, which go with them."""

    def __init__(self, server):
        self.namespace = server.namespace
        self._addresses = server.addresses
        self._routes = {
            family: run(server.namespace, "ip", f"-{family}", "route", "show", "default").splitlines()
            for family in (4, 6)
        }

    def lose(self, *families):
        for family in families:
            self._ip(family, "address", "del", self._address(family), "dev", "eth0")

    def get_back(self, *families):
        for family in families:
            nodad = ["nodad"] if family == 6 else []
            self._ip(family, "address", "add", self._address(family), "dev", "eth0", *nodad)
            self.find_ways_out(family)

    def find_ways_out(self, family):
        for route in self._routes[family]:
            self._ip(family, "route", "replace", *route.split())

    def _ip(self, family, *command):
        run(self.namespace, "ip", f"-{family}", *command)

    def _address(self, family):
        return f"{self._addresses[family]}/{24 if family == 4 else 64}"


def reason_of(on, name):
    """What a node says of itself in its status, as one who is asked through its socket."""
    return next(row["reason"] for row in on.farm.status(name)["nodes"] if row["name"] == name)


def has_taken(load, name, *, since):
    return load.served(since=since)[name] > 10


@pytest.mark.parametrize("lost", [(4, 6), (4,), (6,)], ids=["both addresses", "that of IPv4", "that of IPv6"])
def test_the_clients_of_a_node_without_its_address_are_served_by_the_others_until_it_is_back(tmp_path, lost):
    with stage(tmp_path, DIRECTED) as on:
        victim = on.director()
        others = sorted(name for name in on.farm.names if name != victim)
        own = Own(on.lan.servers[victim])
        addresses = on.addresses(60)
        load = on.newcomers(addresses, rate=200, timeout=1.0)
        load.wait_for_more(120)
        assert load.failed == []

        gone = time.monotonic()
        own.lose(*lost)
        on.wait_until_everybody_is_served(load, addresses, since=gone, limit=8)
        wait_for(lambda: on.farm.view(victim) == [], what="the victim out of the view")
        why = NO_ADDRESS if 4 in lost else NO_ADDRESS_6
        assert why in reason_of(on, victim)
        health = run(own.namespace, "curl", "-si", "http://127.0.0.1:9010/health")
        assert health.startswith("HTTP/1.1 404 ")
        assert f"X-Farm-Reason: layer 2: {why}" in health
        for other in others:
            wait_for(lambda other=other: on.farm.view(other) == others, what=f"{other} in the view of the others")
        settled = time.monotonic()
        load.wait_for_more(120)
        assert set(load.served(since=settled)) == set(others)
        log = on.farm.log(victim)
        assert log.count(f"UP(Transient): layer 2: {why}") == 1, log

        back = time.monotonic()
        own.get_back(*lost)
        on.farm.serving()
        wait_for(lambda: has_taken(load, victim, since=back), what="answers of the one that is back")
        assert on.farm.log(victim).count("UP(Ready): layer 2: ") == 1
        on.clients.end(load)


def test_an_interface_that_goes_down_and_up_is_out_while_its_ipv6_address_is_missing(tmp_path):
    with stage(tmp_path, DIRECTED) as on:
        victim = on.bystander()
        others = sorted(name for name in on.farm.names if name != victim)
        own = Own(on.lan.servers[victim])
        run(own.namespace, "ip", "link", "set", "eth0", "down")
        wait_for(lambda: "eth0 is down" in reason_of(on, victim), what="the reason: down")
        run(own.namespace, "ip", "link", "set", "eth0", "up")
        wait_for(lambda: NO_ADDRESS_6 in reason_of(on, victim), what="the reason: no IPv6 address")
        on.farm.serving(*others)
        assert on.farm.view(victim) == []
        own.get_back(6)
        own.find_ways_out(4)
        on.farm.serving()
        lines = [line for line in on.farm.log(victim).splitlines() if " warning " in line or " error " in line]
        [told] = [line for line in lines if "eth0 is down" in line]
        assert "application: UP(Transient): layer 2: eth0 is down; ip link set eth0 up" in told


def test_a_cable_that_is_pulled_says_so_and_an_interface_that_is_made_anew_is_taken_over(tmp_path):
    with stage(tmp_path, DIRECTED) as on:
        victim = on.bystander()
        others = sorted(name for name in on.farm.names if name != victim)
        on.lan.cut(victim)
        wait_for(lambda: "eth0 has no carrier" in reason_of(on, victim), what="the reason: no carrier")
        on.farm.serving(*others)
        on.lan.plug(victim)
        on.farm.serving()

        own = Own(on.lan.servers[victim])
        on.lan.replace_cable(victim)
        wait_for(lambda: NO_ADDRESS in reason_of(on, victim), what="the reason: a new interface has no address")
        own.get_back(4, 6)
        on.farm.serving()
        load = on.newcomers(on.addresses(60), rate=200)
        wait_for(lambda: has_taken(load, victim, since=0), what="answers through the new interface")
        on.clients.end(load)
        assert load.failed == []
