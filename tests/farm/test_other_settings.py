"""A virtual IP and a share group come and go on a farm of three, while clients of what stays are served."""

import contextlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from daemons import wait_for
from lan.site import site
from lan.stage import needs_root
from lan.traffic import crowd
from lan.web import PORT, SECOND_PORT, web_servers

from hcsidecar.net.keyring import Keyring

pytestmark = needs_root

VIP, OTHER_VIP = "192.0.2.100", "192.0.2.101"
NAMES = ("web1", "web2", "web3")
TESTS = Path(__file__).parents[1]

FARM = """
[farm]
name = "apache"
key_file = "farm.key"
state_dir = "{directory}/s"
{nodes}
[l2]
delivery = "{delivery}"
filter = "{filter}"
{vips}
{shares}
"""


def share(name, port):
    return f'[[l2.share]]\nname = "{name}"\nports = [{port}]'


class LiveFarm:
    """Three nodes, each a `lan.live_node` in its server's namespace."""

    def __init__(self, lan, *, delivery, packet_filter):
        self._lan, self._delivery, self._filter = lan, delivery, packet_filter
        Keyring.create(lan.directory / "farm.key", now=datetime.now(UTC)).write(replace=False)
        self.nodes = {}

    def file(self, name, *, vips, shares):
        path = self._lan.directory / name
        nodes = (f'[[node]]\nname = "{each}"\naddress = "{self._lan.servers[each].addresses[4]}"' for each in NAMES)
        path.write_text(
            FARM.format(
                directory=self._lan.directory,
                nodes="\n".join(nodes),
                delivery=self._delivery,
                filter=self._filter,
                vips="\n".join(f'[[l2.vip]]\naddress = "{vip}"' for vip in vips),
                shares="\n".join(share(*each) for each in shares),
            )
        )
        return path

    def start(self, path):
        for name in NAMES:
            inside = ["ip", "netns", "exec", self._lan.servers[name].namespace]
            self.nodes[name] = subprocess.Popen(
                [*inside, sys.executable, "-m", "lan.live_node", str(path), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": str(TESTS)},
                text=True,
            )

    def ask(self, request):
        """Ask all nodes at once; give what they answer."""
        for node in self.nodes.values():
            node.stdin.write(request + "\n")
            node.stdin.flush()
        return [json.loads(node.stdout.readline()) for node in self.nodes.values()]

    def serving(self):
        whole = {"view": list(NAMES), "claimed": True}
        wait_for(lambda: self.ask("status") == [whole] * 3, limit=45, what="one view of all, their shares claimed")

    def take(self, path):
        assert self.ask(f"take {path}") == [{"taken": str(path)}] * 3
        self.serving()

    def end(self):
        for node in self.nodes.values():
            node.stdin.write("end\n")
            node.stdin.flush()
        assert [node.wait(20) for node in self.nodes.values()] == [0, 0, 0]


@contextlib.contextmanager
def live_farm(lan, **settings):
    farm = LiveFarm(lan, **settings)
    try:
        yield farm
        farm.end()
    finally:
        for node in farm.nodes.values():
            node.kill()
            node.communicate(timeout=10)


@pytest.mark.parametrize("delivery", ["directed", "flooded"])
@pytest.mark.parametrize("packet_filter", ["tc", "xdp", "nfqueue"])
def test_a_vip_and_a_share_come_and_go_and_clients_of_what_stays_see_nothing(tmp_path, packet_filter, delivery):
    rate = 40 if packet_filter == "nfqueue" else 200
    with (
        site(tmp_path, servers=NAMES) as lan,
        web_servers(lan),
        live_farm(lan, delivery=delivery, packet_filter=packet_filter) as farm,
        crowd(lan.clients) as clients,
    ):
        first = farm.file("first.toml", vips=[VIP], shares=[("APACHE", PORT)])
        more = farm.file("more.toml", vips=[OTHER_VIP, VIP], shares=[("MORE", SECOND_PORT), ("APACHE", PORT)])
        farm.start(first)
        farm.serving()
        addresses = lan.clients.clients(120)
        regulars = clients.regulars(VIP, addresses[:60], every=0.2, timeout=10)
        load = clients.newcomers(VIP, addresses, rate=rate, timeout=10)
        load.wait_for_more(50)

        farm.take(more)
        others = [
            clients.newcomers(OTHER_VIP, addresses[:30], rate=30, timeout=10, port=PORT),
            clients.newcomers(VIP, addresses[30:60], rate=30, timeout=10, port=SECOND_PORT),
        ]
        for each in others:
            each.wait_for_more(20)
        clients.end(*others)
        assert [each.failed for each in others] == [[], []]
        assert all(set(each.served()) == set(NAMES) for each in others)

        farm.take(first)
        load.wait_for_more(50)
        regulars.wait_for_answers()
        assert [str(regular) for regular in regulars.failed] == []
        assert all(len(regular.answers) == 1 for regular in regulars.all)
        gone = clients.newcomers(OTHER_VIP, addresses[:5], rate=20, timeout=0.5, port=PORT)
        gone.wait_for_more(5)
        clients.end(load, gone)
        assert load.failed == []
        assert len(gone.failed) == len(gone.attempts)
