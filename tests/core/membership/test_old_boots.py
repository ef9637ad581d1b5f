"""What is recorded, resumed or refused: boots from the past, and two processes under one name."""

import pytest
from small_farm import ME, P, T, heartbeat, live, membership, said, views_of

from hcsidecar.core.membership.effects import Broadcast, Reincarnate
from hcsidecar.core.membership.peers import KnownPeer


def test_words_after_a_leave_are_refused():
    node = membership()
    node.receive(heartbeat("web2", seq=5, leave=True), now=0.1)
    node.receive(heartbeat("web2", seq=6), now=0.1)
    assert not node.peers.alive()
    assert node.refused["after leave"] == 1


@pytest.mark.parametrize(
    ("boot", "seq", "reason"), [(4, 9, "old boot"), (5, 3, "old sequence"), (5, 2, "old sequence")]
)
def test_the_past_is_refused(boot, seq, reason):
    node = membership()
    node.receive(heartbeat("web2", boot=5, seq=3), now=0.1)
    node.receive(heartbeat("web2", boot=boot, seq=seq, wants=True), now=0.11)
    assert node.refused[reason] == 1
    assert not node.peers.by_name["web2"].would_share()


def test_a_higher_boot_ends_the_old_one_at_once():
    node = membership()
    node.receive(heartbeat("web2", boot=5, seq=90, heard=[("web1", 7, 1)]), now=0.1)
    effects = node.receive(heartbeat("web2", boot=6, seq=1), now=0.2)
    assert said(effects, "web2 has started anew")
    assert not node.peers.edges()


# Recordings


def test_a_recording_counts_for_nothing_however_long_it_is_played():
    node = membership()
    node.set_wants(True, now=0.0)
    # Of a former boot of this node, by one that served with it.
    recorded = {"boot": 3, "wants": True, "holding": True, "role": "UP", "status": "Ready", "settings_digest": b"other"}
    recorded |= {"view": views_of("web1", "web2", "web3"), "heard": [("web1", 6, 400)], "dirty": True}
    effects = []
    for number in range(1, 40):
        now = 0.1 * number
        effects += [effect for _, effect in live(node, until=now)]
        effects += node.receive(heartbeat("web2", seq=400 + number, **recorded), now=now)
    assert node.peers.acknowledged() == []
    assert (node.view, node.claimed) == (views_of("web1"), True)
    assert node.take_neighbours() == []
    assert not said(effects, "web2 is heard") or len(said(effects, "web2 is heard, but does not hear this node")) == 1


def test_what_was_held_back_on_the_way_proves_no_life():
    node = membership()
    node.set_wants(True, now=0.0)
    node.receive(heartbeat("web2", wants=True, heard=ME), now=0.01)
    live(node, until=0.4)
    assert node.peers.by_name["web2"].listed_me >= 0
    # It lists what this node said long ago: it was sent long ago.
    for number in range(2, 9):
        live(node, until=0.2 * number)
        effects = node.receive(heartbeat("web2", seq=number, wants=True, heard=ME), now=0.2 * number)
        if said(effects, "web2 does not hear this node any more"):
            break
    assert number == 6  # more than 2 T after that word
    assert node.peers.acknowledged() == []


def test_one_that_goes_deaf_still_counts():
    node = membership()
    node.set_wants(True, now=0.0)
    node.receive(heartbeat("web2", wants=True, heard=ME), now=0.01)
    for number in range(2, 12):
        live(node, until=0.2 * number)
        node.receive(heartbeat("web2", seq=number, wants=True, view=views_of("web2")), now=0.2 * number)
    assert [peer.name for peer in node.peers.acknowledged()] == ["web2"]
    assert node.out_reason == "web2 serve, and this node has no mutual link with all of them"


@pytest.mark.parametrize(("name", "serves"), [("web1", True), ("web3", False)])
def test_one_that_goes_deaf_and_serves_nobody_counts_only_if_it_comes_first_by_name(name, serves):
    node = membership(name)
    node.set_wants(True, now=0.0)
    node.receive(heartbeat("web2", wants=True, heard=[(name, 7, 1)]), now=0.01)
    for number in range(2, 12):
        live(node, until=0.2 * number)
        node.receive(heartbeat("web2", seq=number, wants=True), now=0.2 * number)
    assert [peer.name for peer in node.peers.acknowledged()] == ["web2"]
    assert [member for member, _ in node.view] == ([name] if serves else [])


def test_a_heartbeat_of_an_older_boot_than_an_earlier_daemon_heard_is_refused():
    node = membership(known={"web2": KnownPeer(9)})
    node.receive(heartbeat("web2", boot=8), now=0.01)
    assert node.refused["old boot"] == 1
    assert not node.peers.by_name["web2"].alive


# Boot numbers that went back


def test_a_node_whose_boot_number_went_back_is_told_and_takes_a_higher_one():
    node = membership(known={"web2": KnownPeer(9)})
    effects = node.receive(heartbeat("web2", boot=3, heard=ME), now=0.01)
    assert said(effects, "web2 went back to boot 3, after its boot 9 was heard: refused until")
    assert not said(node.receive(heartbeat("web2", boot=3, seq=2, heard=ME), now=0.015), "went back")
    told = node.compose(now=0.02)
    assert told.refuses == (("web2", 9),)

    other = membership("web2", boot=3)
    effects = other.receive(told, now=0.02)
    assert Reincarnate("web1 has heard a higher boot of this node (9)", above=9) in effects
    assert other.ended


def test_a_recording_of_an_older_boot_is_refused_without_a_word():
    node = membership()
    node.receive(heartbeat("web2", boot=9, heard=ME), now=0.01)
    # The old boot had heard this node's first word too, but nothing since the new one was heard.
    assert node.receive(heartbeat("web2", boot=8, seq=7, heard=ME), now=0.02) == []
    assert node.compose(now=0.03).refuses == ()


def test_of_two_processes_under_one_name_the_refused_one_stays_out_and_both_say_so():
    node = membership("web2", boot=3, names=("web1", "web2"))
    node.set_wants(True, now=0.0)
    said_so = []
    for number in range(1, 60):
        now = number * P
        live(node, until=now)
        lists = [("web2", 9, 10 * number)]
        effects = node.receive(heartbeat("web1", seq=number, heard=lists, refuses=(("web2", 9),)), now=now)
        said_so += said(effects, "another process runs as web2 (web1 hears boots 9 and 3): stop one of the two")
    assert len(said_so) == 1
    assert (node.view, node.out_reason) == ((), "web1 hears another process as web2, with a higher boot")
    assert not node.compose(now=now).wants

    double = membership("web2", boot=9)
    effects = double.receive(heartbeat("web1", heard=[("web2", 9, 1)], refuses=(("web2", 9),)), now=0.01)
    assert said(effects, "another process runs as web2 (web1 hears an older boot): stop one of the two")


def test_a_refusal_ends_when_the_other_process_is_gone():
    node = membership("web2", boot=3, names=("web1", "web2"))
    node.receive(heartbeat("web1", heard=[("web2", 9, 5)], refuses=(("web2", 9),)), now=0.01)
    assert not node.ended
    effects = node.receive(heartbeat("web1", seq=2, refuses=(("web2", 9),)), now=0.02)
    assert any(isinstance(effect, Reincarnate) and effect.above == 9 for effect in effects)


def test_a_node_that_was_resumed_from_a_snapshot_takes_a_new_boot():
    node = membership()
    effects = node.receive(heartbeat("web2", heard=[("web1", 7, 500)]), now=0.01)
    assert any(isinstance(effect, Reincarnate) for effect in effects)
    assert said(effects, "web2 has heard more of this boot than it has said: starts again")


def test_a_heartbeat_of_a_node_that_the_farm_file_does_not_have_changes_nothing():
    node = membership()
    assert node.receive(heartbeat("web99", wants=True), now=0.01) == []


def test_after_a_reincarnation_what_was_said_of_the_module_is_kept():
    old = membership()
    old.set_wants(True, now=0.0)
    old.set_application(role="UP", status="Ready", draining=False, reason="", now=0.0)
    new = membership(boot=8, now=5.0)
    new.inherit(old)
    assert (new.wants, new.role, new.status) == (True, "UP", "Ready")


def test_what_is_said_in_the_midst_of_a_standstill_is_kept():
    node = membership()
    node.set_wants(True, now=0.0)
    node.tick(now=0.0)
    effects = node.set_application(role="WAIT", status="NotReady", draining=False, reason="a check failed", now=3 * T)
    assert any(isinstance(effect, Reincarnate) for effect in effects)
    node.set_wants(False, now=3 * T)
    node.set_powers((3,), now=3 * T)
    new = membership(boot=8, now=3 * T)
    new.inherit(node)
    assert (new.wants, new.role, new.reason, new.powers) == (False, "WAIT", "a check failed", (3,))


def test_a_node_that_is_told_to_leave_in_the_midst_of_a_standstill_leaves():
    node = membership()
    node.tick(now=0.0)
    assert any(isinstance(effect, Reincarnate) for effect in node.leave(now=3 * T))
    new = membership(boot=8, now=3 * T)
    new.inherit(node)
    said_so = [when for when, effect in live(new, until=3 * T + 5 * P) if isinstance(effect, Broadcast)]
    assert new.compose(now=3 * T).leave
    assert len(said_so) >= 3


def test_after_a_reincarnation_what_was_counted_goes_on():
    old = membership()
    old.receive(heartbeat("web2", boot=5, seq=3), now=0.1)
    old.receive(heartbeat("web2", boot=4, seq=9), now=0.1)
    new = membership(boot=8, now=5.0)
    new.inherit(old)
    new.receive(heartbeat("web2", boot=5, seq=4), now=5.1)
    new.receive(heartbeat("web2", boot=5, seq=4), now=5.2)
    assert (new.refused["old boot"], new.refused["old sequence"]) == (1, 1)


def test_leaving_twice_is_leaving_once():
    node = membership()
    assert node.leave(now=0.0)
    assert node.leave(now=0.01) == []


def test_saying_the_same_again_is_no_change():
    node = membership()
    assert node.set_wants(False, now=0.0) == []
