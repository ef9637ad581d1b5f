"""What clients see of a stop, a drain, a join and changed powers: nothing."""

import time

from daemons import wait_for
from lan.stage import needs_root, stage
from lan.stories import story

pytestmark = needs_root


@story("gentle stop")
def test_a_stop_under_load_fails_no_request_and_ends_when_the_last_connection_has(tmp_path, way):
    with stage(tmp_path, way, lame_duck="60s") as on:
        leaver = on.director()
        regulars = on.regulars(on.addresses(200))
        load = on.newcomers(on.addresses(250), rate=500)
        load.wait_for_more(250)
        theirs = regulars.of(leaver)
        assert theirs
        stopped = time.monotonic()
        assert on.farm.cli("drain", node=leaver).returncode == 0
        rest = [name for name in on.farm.names if name != leaver]
        on.farm.serving(*rest)
        serving = time.monotonic()
        # Its own go on as long as they like; nobody new comes.
        regulars.wait_for_answers(4)
        load.wait_for_more(500)
        assert [str(regular) for regular in regulars.failed] == []
        assert all(regular.answers.keys() == {leaver} for regular in theirs)
        assert load.served(since=serving)[leaver] == 0
        on.clients.end(load, regulars)
        assert load.failed == []
        assert on.farm.cli("stop", node=leaver).returncode == 0
        assert "60 s are over" not in on.farm.log(leaver)
        assert time.monotonic() - stopped < 60


@story("shutdown")
def test_long_connections_live_until_the_drain_of_a_daemon_that_ends_is_over(tmp_path, way):
    with stage(tmp_path, way, lame_duck="2s") as on:
        leaver = on.bystander()
        regulars = on.regulars(on.addresses(60), every=0.1)
        load = on.newcomers(on.addresses(90), rate=300)
        theirs = regulars.of(leaver)
        assert theirs
        told = time.monotonic()
        on.farm.shut_down(leaver)
        on.farm.serving()
        wait_for(lambda: all(regular.failure for regular in theirs), limit=20, what="an end of hanging")
        assert set(regulars.failed) == set(theirs)
        assert all(regular.failed_at > told + 2 for regular in theirs)
        load.wait_for_more(300)
        on.clients.end(load)
        assert load.failed == []


@story("join and powers")
def test_a_join_and_changes_of_power_in_a_row_break_no_connection_and_fail_no_request(tmp_path, way):
    with stage(tmp_path, way, start=("web1", "web2")) as on:
        regulars = on.regulars(on.addresses(200))
        load = on.newcomers(on.addresses(250), rate=500)
        load.wait_for_more(250)
        on.farm.start("web3").serving()
        joined = time.monotonic()
        wait_for(lambda: load.served(since=joined)["web3"], what="answers of the one that joined")
        regulars.wait_for_answers()

        # From one to another, to a third, and back; those who came in between stay where they are too.
        more = []
        for powers in ({"web1": 0}, {"web2": 0, "web1": 1}, {"web2": 3, "web3": 0}, {"web2": 1, "web3": 1}):
            on.farm.set_powers(powers)
            moved = time.monotonic()
            more.append(on.regulars(on.addresses(40)))
            load.wait_for_more(100)
            idle = {name for name, power in powers.items() if power == 0}
            assert not idle & load.served(since=moved).keys()
        for kept in (regulars, *more):
            kept.wait_for_answers()
            assert [str(regular) for regular in kept.failed] == []
            assert all(len(regular.answers) == 1 for regular in kept.all)
        on.clients.end(load)
        assert load.failed == []
