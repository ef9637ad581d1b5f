"""What clients see of a server that dies, and of one whose daemon does."""

import time

from daemons import wait_for
from lan.capture import capture
from lan.namespaces import run
from lan.stage import needs_root, stage
from lan.stories import story
from lan.traffic import Failure

pytestmark = needs_root

SHORT = 0.9
"Seconds: an attempt that is given up before its SYN is sent again shows every lost SYN."


@story("crash")
def test_clients_of_a_crashed_server_are_reset_and_then_served_while_no_other_client_notices(tmp_path, way):
    with stage(tmp_path, way) as on:
        victim = on.bystander()
        addresses = on.addresses(90)
        regulars = on.regulars(addresses[:60], every=0.1, timeout=20)
        load = on.newcomers(addresses, rate=300, timeout=SHORT)
        load.wait_for_more(180)
        assert load.failed == []
        assert regulars.of(victim)
        crashed = time.monotonic()
        on.farm.crash(victim)
        on.wait_until_everybody_is_served(load, addresses, since=crashed)
        # Their next question meets a server that does not know the connection.
        wait_for(lambda: all(regular.failure for regular in regulars.of(victim)), limit=20, what="an end of hanging")
        assert {regular.failure for regular in regulars.of(victim)} == {Failure.RESET}
        regulars.wait_for_answers()
        assert set(regulars.failed) == set(regulars.of(victim))
        assert {attempt.client for attempt in load.failed} <= {
            attempt.client for attempt in load.attempts if attempt.server == victim
        }


@story("crash after moves")
def test_planned_moves_before_a_crash_do_not_keep_the_dead_servers_clients_from_their_reset(tmp_path, way):
    with stage(tmp_path, way) as on:
        victim = on.bystander()
        first, second = (name for name in on.farm.names if name != victim)
        addresses = on.addresses(130)
        regulars = [on.regulars(addresses[:60], every=0.1, timeout=20)]
        # Who comes while one serves nobody stays with the others, in buckets that are the returned one's.
        for idle, come in ((first, addresses[60:100]), (second, addresses[100:])):
            on.farm.set_powers({idle: 0})
            regulars.append(on.regulars(come, every=0.1, timeout=20))
            on.farm.set_powers({idle: 1})
        for survivor in (first, second):
            assert on.farm.ask(survivor, "/api/v1/layer-two")["dirty"]
        theirs = [regular for kept in regulars for regular in kept.of(victim)]
        others = [regular for kept in regulars for regular in kept.all if regular.server != victim]
        bucket_of = {client: on.farm.explain(client)["bucket"] for client in addresses}
        held = {bucket_of[regular.client] for regular in others}
        # Where a survivor holds another connection of the bucket, nobody can tell that it is not this one.
        to_be_reset = [regular for regular in theirs if bucket_of[regular.client] not in held]
        assert len(to_be_reset) > len(theirs) / 2

        on.farm.crash(victim)
        wait_for(lambda: all(regular.failure for regular in to_be_reset), limit=20, what="an end of hanging")
        assert {regular.failure for regular in to_be_reset} == {Failure.RESET}
        for kept in regulars:
            kept.wait_for_answers(limit=25)
        assert [str(regular) for regular in others if regular.failure] == []


@story("director dies")
def test_clients_that_had_the_mac_of_a_dead_director_are_served_again(tmp_path, way):
    with stage(tmp_path, way) as on:
        victim = on.director()
        survivors = [name for name in on.farm.names if name != victim]
        addresses = on.addresses(60)
        load = on.newcomers(addresses, rate=300, timeout=SHORT)
        load.wait_for_more(120)
        assert load.failed == []
        former = mac_of_the_vip(on)
        crashed = time.monotonic()
        on.farm.crash(victim)
        on.wait_until_everybody_is_served(load, addresses, since=crashed)
        assert set(load.served(since=crashed + 1)) <= set(survivors)
        assert former != mac_of_the_vip(on) == mac_of(on, on.director(among=survivors))


@story("frozen")
def test_a_frozen_daemon_takes_nothing_any_more_and_comes_back_without_breaking_anyone(tmp_path, way):
    with stage(tmp_path, way) as on, capture(on.servers) as seen:
        victim = on.bystander()
        addresses = on.addresses(90)
        load = on.newcomers(addresses, rate=300, timeout=SHORT)
        load.wait_for_more(90)
        frozen = time.monotonic()
        on.farm.freeze(victim)
        on.wait_until_everybody_is_served(load, addresses, since=frozen, limit=5)
        survivors = [name for name in on.farm.names if name != victim]
        on.farm.serving(*survivors)
        regulars = on.regulars(addresses[:60], every=0.1)
        assert {regular.server for regular in regulars.all} == set(survivors)
        on.clients.end(load)
        load = on.newcomers(addresses, rate=300)
        thawed = time.monotonic()
        on.farm.thaw(victim)
        on.farm.serving()
        wait_for(lambda: load.served(since=thawed)[victim] > 30, what="answers of the thawed server")
        regulars.wait_for_answers(3)
        assert [str(regular) for regular in regulars.failed] == []
        assert load.failed == []
        assert seen.twice_accepted() == {}


@story("killed")
def test_a_killed_daemon_leaves_a_filter_that_closes_by_itself_and_a_new_one_takes_over(tmp_path, way):
    with stage(tmp_path, way) as on, capture(on.servers) as seen:
        victim = on.bystander()
        addresses = on.addresses(90)
        load = on.newcomers(addresses, rate=300, timeout=SHORT)
        load.wait_for_more(90)
        killed = time.monotonic()
        on.farm.kill_daemon(victim)
        on.wait_until_everybody_is_served(load, addresses, since=killed, limit=5)
        on.farm.serving()
        regulars = on.regulars(addresses[:60], every=0.1)
        assert victim not in {regular.server for regular in regulars.all}
        on.clients.end(load)
        load = on.newcomers(addresses, rate=300)
        restarted = time.monotonic()
        on.farm.start(victim).serving()
        wait_for(lambda: load.served(since=restarted)[victim] > 30, what="answers of the restarted server")
        regulars.wait_for_answers(3)
        assert [str(regular) for regular in regulars.failed] == []
        assert load.failed == []
        assert seen.twice_accepted() == {}


def mac_of_the_vip(on):
    """Give the MAC address that the clients' host has cached for the virtual IP."""
    words = run(on.lan.clients.namespace, "ip", "neigh", "show", "to", on.vip).split()
    return words[words.index("lladdr") + 1]


def mac_of(on, name):
    return run(on.lan.servers[name].namespace, "cat", "/sys/class/net/eth0/address").strip()
