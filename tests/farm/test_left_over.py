"""A daemon in layer-2 mode that was killed, and one that is started twice."""

import json
import re

from daemons import wait_for
from lan.as_found import as_found, differences
from lan.attack import heartbeats_at
from lan.namespaces import run
from lan.shared import shared_farm
from lan.site import site
from lan.stage import needs_root

pytestmark = needs_root


def test_what_a_killed_daemon_left_is_put_back_also_when_layer_two_is_gone_from_the_farm_file(tmp_path):
    with (
        site(tmp_path, servers=("web1",)) as lan,
        shared_farm(lan, delivery="directed", packet_filter="tc") as farm,
    ):
        before = as_found(lan.servers["web1"])
        farm.start().serving()
        farm.kill_daemon("web1")
        assert differences(before, as_found(lan.servers["web1"]))
        text = farm.config.read_text()
        farm.config.write_text(re.sub(r"\[l2\].*(?=\[\[check\]\])", "", text, flags=re.DOTALL))
        farm.start()
        wait_for(lambda: farm.log("web1").count("application: UP(Ready)") == 2, what="web1 Ready again", limit=45)
        assert differences(before, as_found(lan.servers["web1"])) == []


def test_the_filter_of_a_killed_daemon_is_closed_before_the_next_one_says_its_first_word(tmp_path):
    with (
        site(tmp_path, servers=("web1", "web2")) as lan,
        shared_farm(lan, delivery="directed", packet_filter="tc") as farm,
    ):
        farm.start("web1").serving()
        farm.kill_daemon("web1")
        left = program_on(lan.servers["web1"])
        with heartbeats_at(lan.servers["web2"]) as heard:
            farm.start("web1")
            wait_for(heard, what="the first word of web1", limit=45)
            # The other nodes may take its buckets from now on, and nothing waits for the lease of the old filter.
            assert program_on(lan.servers["web1"]) != left


def program_on(host):
    """Give the number of the BPF program at a server's ingress."""
    rows = json.loads(run(host.namespace, "tc", "-j", "filter", "show", "dev", "eth0", "ingress"))
    return next(row["options"]["prog"]["id"] for row in rows if "prog" in row.get("options", {}))


def test_a_second_daemon_of_a_node_leaves_the_first_ones_kernel_alone(tmp_path):
    with (
        site(tmp_path, servers=("web1",)) as lan,
        shared_farm(lan, delivery="directed", packet_filter="tc") as farm,
    ):
        farm.start().serving()
        serving = as_found(lan.servers["web1"])
        first = farm.daemons["web1"]
        farm.start()
        assert farm.daemons["web1"].wait(timeout=45) == 1
        farm.daemons["web1"] = first
        assert "another daemon answers on" in farm.log("web1")
        assert differences(serving, as_found(lan.servers["web1"])) == []
