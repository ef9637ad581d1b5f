"""Two farms with one virtual IP on one network: each says so, and that it is over."""

import pytest
from daemons import wait_for
from lan.shared import several_farms
from lan.site import VIP, site
from lan.stage import needs_root

pytestmark = needs_root


def conflicts(farm, name):
    return {each["vip"] for each in farm.ask(name, "/api/v1/layer-two")["conflicts"]}


def told(farm, name):
    return farm.log(name).count(f"error   layer 2: {VIP[4]} is also")


@pytest.mark.parametrize(
    ("delivery", "names"),
    [("directed", ("apache", "nginx")), pytest.param("flooded", ("apache", "nginx"), marks=pytest.mark.soak)],
    ids=["directed", "flooded"],
)
def test_two_farms_with_one_virtual_ip_say_so_until_one_of_them_is_gone(tmp_path, delivery, names):
    servers = ("web1", "web2", "web3", "web4")
    farms = {names[0]: servers[:2], names[1]: servers[2:]}
    with (
        site(tmp_path, servers=servers) as lan,
        several_farms(lan, farms, delivery=delivery, packet_filter="tc") as (ours, theirs),
    ):
        ours.start().serving()
        theirs.start().serving()
        for farm in (ours, theirs):
            for name in farm.names:
                wait_for(
                    lambda farm=farm, name=name: conflicts(farm, name) == set(VIP.values()),
                    what=f"{name} of {farm.name} knows of the conflict",
                    limit=30,
                )
                wait_for(lambda farm=farm, name=name: told(farm, name) == 1, what=f"one line in the log of {name}")
        assert f"problem  web1: {VIP[4]} is also" in ours.of_all("l2-check").stdout
        assert f"{VIP[4]} is also" in ours.cli("status").stderr

        theirs.end()
        for name in ours.names:
            wait_for(lambda name=name: conflicts(ours, name) == set(), what=f"the end, seen by {name}", limit=60)
            over = f"info    layer 2: over: {VIP[4]} is also"
            wait_for(lambda name=name, over=over: over in ours.log(name), what=f"the end in the log of {name}")
            assert told(ours, name) == 1
