"""Farms whose servers have another kind of interface: those that are right serve, and the others do not start."""

import pytest
from lan.as_found import as_found, differences
from lan.namespaces import configure
from lan.shared import shared_farm
from lan.site import VIP, site
from lan.stage import needs_root
from lan.traffic import crowd

pytestmark = needs_root

MACVLAN = "link add link eth0 name x0 type macvlan mode {}"
BRIDGE = ("link add x0 type bridge stp_state 0", "link set eth0 master x0")


def give(server, *lines):
    """Make `x0` of a server's interface, and move its addresses there."""
    own = [f"{server.addresses[4]}/24", f"{server.addresses[6]}/64"]
    configure(server.namespace, [*lines, "link set x0 up", *(f"addr del {address} dev eth0" for address in own)])
    configure(server.namespace, [f"addr add {address} dev x0 nodad" for address in own])
    configure(
        server.namespace, ["route replace default via 192.0.2.1 dev x0", "route replace ::/0 via 2001:db8::1 dev x0"]
    )


@pytest.mark.parametrize(
    ("lines", "delivery"),
    [
        ([MACVLAN.format("bridge")], "directed"),
        ([MACVLAN.format("private")], "directed"),
        ([MACVLAN.format("vepa")], "directed"),
        ([MACVLAN.format("passthru")], "directed"),
        ([MACVLAN.format("passthru")], "flooded"),
        (BRIDGE, "directed"),
        (BRIDGE, "flooded"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[0].split()[-3:]),
)
def test_every_client_is_served_by_one_server(tmp_path, lines, delivery):
    with (
        site(tmp_path, servers=("web1", "web2")) as lan,
        shared_farm(lan, delivery=delivery, packet_filter="auto") as farm,
        crowd(lan.clients) as clients,
    ):
        for server in lan.servers.values():
            give(server, *lines)
        farm.start().serving()
        for family in (4, 6):
            addresses = lan.clients.clients(24, family)
            load = clients.newcomers(VIP[family], addresses, rate=100, timeout=5.0)
            load.wait_for_more(48)
            clients.end(load)
            assert load.failed == []
            server_of = {attempt.client: attempt.server for attempt in load.attempts}
            assert all(attempt.server == server_of[attempt.client] for attempt in load.attempts)
            assert set(server_of.values()) == {"web1", "web2"}


@pytest.mark.parametrize(
    ("lines", "delivery", "reason"),
    [
        ([MACVLAN.format("bridge")], "flooded", "x0 is a macvlan, bridge, which flooded delivery cannot use: "),
        ([MACVLAN.format("source")], "directed", "x0 is a macvlan, source, which directed delivery cannot use: "),
        (["link add link eth0 name x0 type macvtap mode bridge"], "directed", "x0 is a macvtap, which directed "),
    ],
    ids=["macvlan flooded", "macvlan source", "macvtap"],
)
def test_what_would_serve_nobody_is_refused_with_the_reason(tmp_path, lines, delivery, reason):
    with (
        site(tmp_path, servers=("web1",)) as lan,
        shared_farm(lan, delivery=delivery, packet_filter="auto") as farm,
    ):
        give(lan.servers["web1"], *lines)
        before = as_found(lan.servers["web1"])
        assert farm.start().daemons["web1"].wait(45) == 1
        assert f"layer-2 mode: {reason}" in farm.log("web1").splitlines()[-1]
        assert differences(before, as_found(lan.servers["web1"])) == []
