"""The samples of the last hour, of daemons that share virtual IPs and serve clients."""

from daemons import wait_for
from lan.shared import shared_farm
from lan.site import VIP, site
from lan.stage import needs_root
from lan.traffic import crowd

pytestmark = needs_root
SAMPLED = 40
"Seconds in which three samples are taken, with some to spare."


def test_each_node_samples_its_share_and_the_connections_that_it_takes_until_another_one_leaves(tmp_path):
    def newest(name):
        return {share: column[-1] for share, column in farm.ask(name, "/api/v1/series")["share"].items()}

    def takes(name):
        connections = farm.ask(name, "/api/v1/series")["connections"]
        return connections and any(rate for rate in connections)

    with (
        site(tmp_path, servers=("web1", "web2")) as lan,
        shared_farm(lan, delivery="directed", packet_filter="tc") as farm,
        crowd(lan.clients) as people,
    ):
        farm.start().serving()
        people.newcomers(VIP[4], lan.clients.clients(200), rate=50)
        for name in ("web1", "web2"):
            wait_for(lambda name=name: takes(name), limit=SAMPLED, what=f"a rate of connections of {name}")
            wait_for(lambda name=name: 40 < newest(name)["APACHE"] < 60, limit=SAMPLED, what=f"half a share of {name}")
        farm.kill("web2")
        wait_for(lambda: set(newest("web1").values()) == {100.0}, limit=SAMPLED, what="all for the one that is left")
