"""One of the servers takes each client, and each server its share."""

from math import sqrt

from lan.capture import capture
from lan.stage import needs_root, stage
from lan.stories import story
from lan.web import SECOND_PORT

pytestmark = needs_root

POWERS = {"web1": 2}
"Beside three others with 1: two fifths of the clients."


@story("exactly one")
def test_each_of_300_clients_is_accepted_by_one_server_and_the_powers_are_honoured(tmp_path, way):
    servers = ("web1", "web2", "web3", "web4")
    with stage(tmp_path, way, servers=servers, powers=POWERS) as on, capture(on.servers) as seen:
        addresses = on.addresses(300)
        load = on.newcomers(addresses, rate=300)
        load.wait_for_more(400)
        on.clients.end(load)
        assert load.failed == []

        accepted = {attempt[:2]: nodes for attempt, nodes in seen.accepted().items()}
        assert accepted == {(attempt.client, attempt.port): {attempt.server} for attempt in load.attempts}

        server_of = {attempt.client: attempt.server for attempt in load.attempts}
        assert all(attempt.server == server_of[attempt.client] for attempt in load.attempts)
        assert all(on.farm.owner(client) == server_of[client] for client in addresses[:20])
        for name in servers:
            expected = POWERS.get(name, 1) / 5
            count = sum(server == name for server in server_of.values())
            # The seed is drawn anew in each run: five standard deviations of the clients, and one of the buckets.
            spread = sqrt(expected * (1 - expected))
            assert abs(count / 300 - expected) < 5 * spread / sqrt(300) + spread / sqrt(4096)

        # Another port of the same share meets the same server.
        other = on.newcomers(addresses[:60], rate=300, port=SECOND_PORT)
        other.wait_for_more(60)
        on.clients.end(other)
        assert other.failed == []
        assert all(attempt.server == server_of[attempt.client] for attempt in other.attempts)
