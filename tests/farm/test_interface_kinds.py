"""Farms whose servers have another kind of interface: those that are right serve, and the others do not start."""

import pytest
from lan.namespaces import configure, run
from lan.shared import shared_farm
from lan.site import VIP, site
from lan.stage import needs_root
from lan.traffic import crowd

pytestmark = needs_root

MACVLAN = "link add link eth0 name x0 type macvlan mode {}"
BOND = "link add x0 type bond mode {} miimon 100"
IPVLAN = "link add link eth0 name x0 type ipvlan mode l2"
BRIDGE = ("link add x0 type bridge stp_state 0", "link set eth0 master x0")


def give(lan, name, *lines):
    """Make `x0` of a server's interface, and move its addresses there; of a bond two become ports."""
    server = lan.servers[name]
    if " bond " in lines[0]:
        lan.lay_second_cable(name)
        lines = [*lines, *(f"link set {port} {what}" for port in ("eth0", "eth1") for what in ("down", "master x0"))]
    own = [f"{server.addresses[4]}/24", f"{server.addresses[6]}/64"]
    try:
        configure(server.namespace, [*lines, "link set x0 up"])
    except AssertionError as error:
        if "not supported" in str(error) or "Unknown device type" in str(error):
            pytest.skip("this kernel has no such interface")
        raise
    configure(server.namespace, ["addr flush dev eth0 scope global"])
    configure(server.namespace, [f"addr add {address} dev x0 nodad" for address in own])
    configure(
        server.namespace, ["route replace default via 192.0.2.1 dev x0", "route replace ::/0 via 2001:db8::1 dev x0"]
    )


@pytest.mark.parametrize(
    ("lines", "delivery"),
    [
        ([MACVLAN.format("bridge")], "directed"),
        pytest.param([MACVLAN.format("private")], "directed", marks=pytest.mark.soak),
        pytest.param([MACVLAN.format("vepa")], "directed", marks=pytest.mark.soak),
        pytest.param([MACVLAN.format("passthru")], "directed", marks=pytest.mark.soak),
        ([MACVLAN.format("passthru")], "flooded"),
        pytest.param(BRIDGE, "directed", marks=pytest.mark.soak),
        (BRIDGE, "flooded"),
        ([BOND.format("active-backup")], "directed"),
        pytest.param([BOND.format("active-backup")], "flooded", marks=pytest.mark.soak),
        pytest.param([BOND.format("802.3ad")], "directed", marks=pytest.mark.soak),
        pytest.param([BOND.format("balance-tlb")], "flooded", marks=pytest.mark.soak),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0].partition(" type ")[2],
)
def test_every_client_is_served_by_one_server(tmp_path, lines, delivery):
    with (
        site(tmp_path, servers=("web1", "web2")) as lan,
        shared_farm(lan, delivery=delivery, packet_filter="auto") as farm,
        crowd(lan.clients) as clients,
    ):
        for name in lan.servers:
            give(lan, name, *lines)
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
        ([IPVLAN], "directed", "x0 is an ipvlan, which directed delivery cannot use: "),
        ([BOND.format("balance-alb")], "directed", "x0 is a bond, balance-alb, which directed delivery cannot use: "),
    ],
    ids=["macvlan flooded", "macvlan source", "macvtap", "ipvlan", "balance-alb"],
)
def test_what_would_serve_nobody_is_refused_with_the_reason(tmp_path, lines, delivery, reason):
    with (
        site(tmp_path, servers=("web1",)) as lan,
        shared_farm(lan, delivery=delivery, packet_filter="auto") as farm,
    ):
        give(lan, "web1", *lines)
        assert farm.start().daemons["web1"].wait(45) == 1
        assert f"layer-2 mode: {reason}" in farm.log("web1").splitlines()[-1]
        assert VIP[4] not in run(lan.servers["web1"].namespace, "ip", "address", "show", "dev", "lo")
        assert "clsact" not in run(lan.servers["web1"].namespace, "tc", "qdisc", "show")
