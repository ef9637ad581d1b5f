"""`hcsidecar apply` on a farm in layer-2 mode: virtual IPs and shares come and go while clients are served."""

import pytest
from daemons import wait_for
from lan.shared import shared_farm
from lan.site import VIP, site
from lan.stage import needs_root
from lan.traffic import crowd
from lan.web import SECOND_PORT

pytestmark = needs_root

ANOTHER_VIP = "192.0.2.101"


def edit(farm, before, after):
    text = farm.config.read_text()
    assert before in text
    farm.config.write_text(text.replace(before, after))


def applied(farm, node):
    done = farm.cli("apply", "--yes", node=node)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "in force on every node" in done.stdout
    return done.stdout


@pytest.mark.parametrize(("delivery", "packet_filter"), [("directed", "tc"), ("flooded", "xdp")])
def test_a_virtual_ip_and_a_share_come_and_go_and_no_client_of_the_others_fails(tmp_path, delivery, packet_filter):
    with (
        site(tmp_path, servers=("web1", "web2", "web3")) as lan,
        shared_farm(lan, delivery=delivery, packet_filter=packet_filter) as farm,
        crowd(lan.clients) as people,
    ):
        farm.start().serving()
        newcomers = people.newcomers(VIP[4], lan.clients.clients(200), rate=50)
        newcomers.wait_for_more(50)
        edit(farm, f'address = "{VIP[4]}"\n', f'address = "{VIP[4]}"\n[[l2.vip]]\naddress = "{ANOTHER_VIP}"\n')
        plan = applied(farm, "web2")
        assert ANOTHER_VIP in plan
        farm.serving()
        others = people.newcomers(ANOTHER_VIP, lan.clients.clients(200), rate=50)
        others.wait_for_more(100)
        people.end(others)
        assert others.failed == []
        edit(farm, f", {SECOND_PORT}]", "]")
        applied(farm, "web3")
        farm.serving()
        assert farm.cli("rollback", "1", "--yes", node="web1").returncode == 0
        farm.serving()
        second = people.newcomers(VIP[4], lan.clients.clients(200), rate=50, port=SECOND_PORT)
        second.wait_for_more(100)
        people.end(second)
        assert second.failed == []
        newcomers.wait_for_more(50)
        people.end(newcomers)
        assert newcomers.failed == []
        wait_for(lambda: all("virtual IPs are" in farm.log(name) for name in farm.names))


@pytest.mark.parametrize(("delivery", "packet_filter"), [("directed", "tc"), ("flooded", "xdp")])
def test_a_node_is_removed_and_no_client_fails(tmp_path, delivery, packet_filter):
    with (
        site(tmp_path, servers=("web1", "web2", "web3")) as lan,
        shared_farm(lan, delivery=delivery, packet_filter=packet_filter) as farm,
        crowd(lan.clients) as people,
    ):
        farm.start().serving()
        newcomers = people.newcomers(VIP[4], lan.clients.clients(200), rate=50)
        newcomers.wait_for_more(50)
        removed = farm.cli("remove", "web3", "--yes", node="web1", timeout=120)
        assert removed.returncode == 0, removed.stdout + removed.stderr
        assert farm.daemons.pop("web3").wait(60) == 2
        farm.serving()
        newcomers.wait_for_more(100)
        people.end(newcomers)
        assert newcomers.failed == []
        assert "this node has drained to leave the farm" in farm.log("web3")
