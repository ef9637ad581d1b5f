"""A switch that parts and heals."""

import time

from lan.capture import capture
from lan.stage import needs_root, stage
from lan.stories import story
from lan.traffic import crowd

pytestmark = needs_root

NEAR, FAR = ("web1", "web2"), ("web3", "web4")


@story("partition")
def test_each_side_of_a_parted_switch_serves_its_clients_and_after_the_heal_one_takes_each(tmp_path, way):
    with (
        stage(tmp_path, way, servers=NEAR, far=FAR) as on,
        crowd(on.lan.far_clients) as far_clients,
        capture(on.servers) as seen,
    ):
        near_addresses = on.addresses(60)
        far_addresses = on.lan.far_clients.clients(40, way.family)
        near = on.newcomers(near_addresses, rate=200, timeout=0.9)
        far = far_clients.newcomers(on.vip, far_addresses, rate=200, timeout=0.9)
        near.wait_for_more(60)
        far.wait_for_more(60)
        assert near.failed + far.failed == []
        assert seen.twice_accepted() == {}

        on.lan.partition()
        parted = time.monotonic()
        on.wait_until_everybody_is_served(near, near_addresses, since=parted, limit=5)
        on.wait_until_everybody_is_served(far, far_addresses, since=parted, limit=5)
        assert set(near.served(since=parted + 1)) <= set(NEAR)
        assert set(far.served(since=parted + 1)) <= set(FAR)

        on.lan.heal()
        on.farm.serving()
        healed = time.monotonic()
        on.wait_until_everybody_is_served(near, near_addresses, since=healed)
        on.wait_until_everybody_is_served(far, far_addresses, since=healed)
        near.wait_for_more(120)
        far.wait_for_more(120)
        on.clients.end(near)
        far_clients.end(far)
        late = [attempt for attempt in near.failed + far.failed if attempt.began > healed]
        assert late == []
        assert seen.twice_accepted(since=healed) == {}
        for attempts in (near.attempts, far.attempts):
            servers = {(a.client, a.server) for a in attempts if a.began > healed}
            assert len(servers) == len({client for client, _ in servers})
