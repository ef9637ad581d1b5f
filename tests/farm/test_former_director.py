"""A director that has left the view, and lives, passes on what clients still send to its MAC."""

import contextlib
import subprocess
import sys
import time

import pytest
from daemons import wait_for
from lan.namespaces import inside, run
from lan.stage import needs_root, stage
from lan.stories import Combination

pytestmark = needs_root


def packets(on, name, reason):
    document = on.farm.ask(name, "/api/v1/layer-two")
    return next(each["count"] for each in document["packets"] if each["name"] == reason)


@pytest.mark.parametrize("packet_filter", ["tc", "nfqueue"])
def test_clients_that_never_hear_of_the_new_director_are_served_by_way_of_the_drained_one(tmp_path, packet_filter):
    with stage(tmp_path, Combination(delivery="directed", packet_filter=packet_filter, family=4)) as on:
        former = on.director()
        mac = run(on.lan.servers[former].namespace, "cat", "/sys/class/net/eth0/address").strip()
        deaf = ["ip", "neigh", "replace", on.vip, "lladdr", mac, "dev", "eth0", "nud", "permanent"]
        run(on.lan.clients.namespace, *deaf)
        addresses = on.addresses(60)
        load = on.newcomers(addresses, rate=200)
        regulars = on.regulars(addresses[:30])
        load.wait_for_more(120)

        assert on.farm.act(former, "drain")["ok"]
        others = sorted(name for name in on.farm.names if name != former)
        for name in others:
            wait_for(lambda name=name: on.farm.view(name) == others, what=f"{name} in the view of the others")
        drained = time.monotonic()
        load.wait_for_more(200)
        on.wait_until_everybody_is_served(load, addresses, since=drained)
        assert set(load.served(since=drained)) == set(others)
        assert load.failed == []
        assert packets(on, former, "passed_on") > 100
        unclaimed = packets(on, former, "unclaimed")
        load.wait_for_more(100)
        assert packets(on, former, "unclaimed") == unclaimed

        # Connections that were there before live on, where they are.
        regulars.wait_for_answers()
        assert regulars.failed == []
        assert on.farm.act(former, "resume")["ok"]
        on.farm.serving()
        regulars.wait_for_answers()
        assert regulars.failed == []
        on.clients.end(load)
        assert load.failed == []


@contextlib.contextmanager
def naming_themselves(servers, directory, port):
    """Let each server tell its name to who asks on a port."""
    with contextlib.ExitStack() as stack:
        for name, host in servers.items():
            (directory / name).mkdir()
            (directory / name / "name").write_text(name)
            with inside(host.namespace):
                command = [sys.executable, "-m", "http.server", str(port), "--directory", directory / name]
                told = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
            stack.callback(told.kill)
            stack.callback(told.stdout.close)
        yield


@pytest.mark.parametrize("packet_filter", ["tc", "nfqueue"])
def test_what_no_share_names_reaches_the_new_director_by_way_of_the_drained_one(tmp_path, packet_filter):
    way = Combination(delivery="directed", packet_filter=packet_filter, family=4)
    with stage(tmp_path, way, unmatched="director") as on, naming_themselves(on.lan.servers, tmp_path, 8123):
        former = on.director()
        mac = run(on.lan.servers[former].namespace, "cat", "/sys/class/net/eth0/address").strip()
        deaf = ["ip", "neigh", "replace", on.vip, "lladdr", mac, "dev", "eth0", "nud", "permanent"]
        run(on.lan.clients.namespace, *deaf)

        def who_answers():
            ask = ["ip", "netns", "exec", on.lan.clients.namespace, "curl", "-s", "--max-time", "2"]
            asked = subprocess.run([*ask, f"http://{on.vip}:8123/name"], capture_output=True, text=True, check=False)
            return asked.stdout

        wait_for(lambda: who_answers() == former, what="an answer of the director")
        assert on.farm.act(former, "drain")["ok"]
        others = sorted(name for name in on.farm.names if name != former)
        director = on.director(among=others)
        wait_for(lambda: who_answers() == director, what="an answer of the new director")
        assert packets(on, former, "to_director") > 0
        assert on.farm.act(former, "resume")["ok"]
        on.farm.serving()
        assert who_answers() == former
