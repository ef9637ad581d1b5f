"""Floods and forgeries move no bucket and hide no heartbeat."""

from daemons import wait_for
from lan.attack import flood, forged, heartbeats_at, send_again
from lan.capture import capture
from lan.stage import needs_root, stage
from lan.stories import story

pytestmark = needs_root


def what_was_decided(farm, names):
    """The lines of the logs that tell of members and views, and the buckets of each node."""
    told = {name: [line for line in farm.log(name).splitlines() if " membership: " in line] for name in names}
    shares = {name: farm.ask(name, "/api/v1/layer-two")["shares"] for name in names}
    return told, shares


@story("attack")
def test_a_flood_of_openings_and_garbage_disturbs_neither_heartbeats_nor_who_serves_whom(tmp_path, way):
    with stage(tmp_path, way) as on:
        addresses = on.addresses(60)
        load = on.newcomers(addresses, rate=100)
        load.wait_for_more(60)
        before = what_was_decided(on.farm, on.farm.names)
        with flood(on.lan.clients, on.vip) as attack, capture(on.servers) as seen:
            wait_for(lambda: attack.sent >= 50_000, limit=60, what="50,000 hostile frames")
            load.wait_for_more(100)
            assert seen.twice_accepted() == {}
        on.clients.end(load)
        assert what_was_decided(on.farm, on.farm.names) == before
        assert load.failed == []


@story("forgeries")
def test_replayed_and_forged_heartbeats_move_no_bucket(tmp_path, way):
    with stage(tmp_path, way) as on, heartbeats_at(on.lan.servers["web1"]) as heartbeats:
        wait_for(lambda: len(heartbeats()) >= 40, what="40 heartbeats")
        recorded = list(heartbeats())
        on.farm.freeze("web3")
        rest = ["web1", "web2"]
        on.farm.serving(*rest)
        before = what_was_decided(on.farm, rest)
        # A dead node does not rise because somebody says its words again.
        wait_for(lambda: len(heartbeats()) >= len(recorded) + 40, what="40 more heartbeats")
        send_again(on.lan.clients, recorded)
        send_again(on.lan.clients, forged(recorded, seed=7))
        wait_for(lambda: len(heartbeats()) >= len(recorded) + 300, what="the attack to be past")
        assert what_was_decided(on.farm, rest) == before
        on.farm.thaw("web3")
        on.farm.serving()
