"""The operator's commands of layer-2 mode against a farm that serves: what they say is what clients meet."""

import json
import subprocess
import sys

import pytest
from daemons import wait_for
from lan.namespaces import configure
from lan.site import VIP
from lan.stage import needs_root, stage
from lan.stories import Combination

pytestmark = needs_root

WAYS = [
    Combination(delivery="directed", packet_filter="auto", family=4),
    Combination(delivery="flooded", packet_filter="auto", family=6),
]


def l2_check(on):
    """Let the first server check the farm; give the exit status and the lines by level."""
    inside = ["ip", "netns", "exec", on.lan.servers["web1"].namespace]
    command = [*inside, sys.executable, "-m", "hcsidecar", "l2-check", "--json", "--config", str(on.farm.config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = json.loads(done.stdout)["lines"]
    return done.returncode, {
        level: [line["text"] for line in lines if line["level"] == level] for level in ("ok", "warning", "problem")
    }


def explained(on, client, node):
    """Give what `hcsidecar explain` says of a client in the share of the web servers."""
    done = on.farm.cli("explain", client, "--json", node=node)
    assert done.returncode == 0, done.stderr
    return next(share for share in json.loads(done.stdout)["shares"] if share["share"] == "APACHE")


def servers_of(on, addresses):
    """Let each client open a new connection; give who served it."""
    load = on.clients.newcomers(on.vip, addresses, rate=300)
    load.wait_for_more(len(addresses))
    on.clients.end(load)
    assert load.failed == []
    return {attempt.client: attempt.server for attempt in load.attempts}


def all_taken(on):
    """Say whether every bucket of both shares is open at a node."""
    documents = [on.farm.ask(name, "/api/v1/layer-two") for name in on.farm.names]
    return all(sum(document["shares"][share]["mine"] for document in documents) == 4096 for share in (0, 1))


def answered(on, vip):
    """Say whom a sound farm hears answering for a virtual IP, asker by asker."""
    if on.way.delivery == "flooded":
        return "web2, web3 to web1; web1, web3 to web2; web1, web2 to web3"
    director = on.farm.director(4 if vip == VIP[4] else 6)
    return "; ".join(f"{director} to {name}" for name in on.farm.names if name != director)


@pytest.mark.parametrize("way", [WAYS[0], pytest.param(WAYS[1], marks=pytest.mark.soak)], ids=lambda way: way.delivery)
def test_the_commands_say_what_the_clients_meet(tmp_path, way):
    with stage(tmp_path, way) as on:
        # l2-check: nothing is wrong, and each virtual IP is answered for by whom it should be.
        status, said = l2_check(on)
        assert (status, said["problem"], said["warning"]) == (0, [], [])
        for vip in VIP.values():
            assert f"{vip}: answered by {answered(on, vip)}, and by nobody else" in said["ok"]
        assert len([text for text in said["ok"] if "every one of the 4096 buckets has its taker" in text]) == 2

        # explain: every node names the server that the client then meets.
        addresses = on.addresses(60)
        met = servers_of(on, addresses)
        client = addresses[0]
        for name in on.farm.names:
            told = explained(on, client, name)
            assert told["owner"] == met[client]
            assert told["phase"] == ("mine" if name == met[client] else "other")
            assert f"{met[client]} takes it" in told["reason"]

        # power: the server that had the client takes nobody any more, and everybody is served.
        before = met[client]
        done = on.farm.cli("power", "0", "--share", "APACHE", node=before)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"{before}: has power APACHE 0 (farm file: 1), ECHO 1\n"
        wait_for(lambda: explained(on, client, before)["owner"] != before)
        wait_for(lambda: all_taken(on))
        moved = servers_of(on, addresses)
        assert before not in moved.values()
        assert {name for name in addresses if met[name] != moved[name]} == {
            name for name in addresses if met[name] == before
        }
        assert "APACHE 0 (farm file: 1), ECHO 1" in on.farm.cli("status", node=before).stdout
        status, said = l2_check(on)
        assert (status, said["problem"]) == (0, [])

        # Its packets are counted by reason.
        told = on.farm.cli("status", "--packets", node=moved[client]).stdout
        assert "new, and the bucket is mine" in told

        assert on.farm.cli("power", "--reset", "--share", "APACHE", node=before).returncode == 0
        wait_for(lambda: explained(on, client, before)["owner"] == before)
        wait_for(lambda: all_taken(on))
        assert servers_of(on, addresses) == met

        # l2-check: another machine has the address, a server's cable is out, and another one is dead.
        configure(on.lan.clients.namespace, [f"addr add {VIP[4]}/32 dev eth0"])
        configure(on.lan.servers["web2"].namespace, ["link set eth0 down"])
        on.farm.crash("web3")
        status, said = l2_check(on)
        assert status == 1
        strangers = [text for text in said["problem"] if "which is no node, tells" in text]
        assert {text.split(":")[0] for text in strangers} == {VIP[4]}
        assert "web2: eth0 is down" in said["problem"]
        assert any(text.startswith(f"web2: the network cannot be asked for {VIP[6]}: ") for text in said["problem"])
        assert any(text.startswith("web3 could not be asked: ") for text in said["problem"])
