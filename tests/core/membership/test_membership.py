"""One test per sentence of the protocol; whole histories are the simulation's."""

from itertools import pairwise

import pytest
from small_farm import LAN, Farm, P, T, heartbeat, live, membership, said

from hcsidecar.core.membership.effects import Answer, Broadcast, Reincarnate, Release, Remember
from hcsidecar.core.membership.peers import KnownPeer
from hcsidecar.core.membership.timing import Timing

ME = [("web1", 7, 1)]
"What one lists that has heard the first word of the node under test."


def views_of(*names):
    return tuple((name, (1,)) for name in names)


def test_three_nodes_share_one_view_and_claim_it():
    farm = Farm("web1", "web2", "web3").run(until=1)
    assert farm.views() == {name: ["web1", "web2", "web3"] for name in ("web1", "web2", "web3")}
    assert farm.holders() == ["web1", "web2", "web3"]


def test_a_node_alone_listens_for_twice_lost_after_and_then_serves():
    farm = Farm("web1", farm_names=("web1", "web2"))
    farm.run(until=2 * T - 0.01)
    assert farm.views() == {"web1": []}
    farm.run(until=2 * T + P)
    assert farm.holders() == ["web1"]


def test_a_node_that_hears_others_listens_for_lost_after():
    farm = Farm("web1", "web2").run(until=T - 0.01)
    assert farm.views() == {"web1": [], "web2": []}
    farm.run(until=T + 2 * P)
    assert farm.holders() == ["web1", "web2"]


def test_silence_for_lost_after_is_death_and_not_sooner():
    node = membership()
    node.receive(heartbeat("web2", heard=ME), now=0.01)
    deaths = [when for when, effect in live(node, until=1) if said([effect], "web2 is dead: silent for 0.5 s")]
    assert deaths == [0.01 + T]


WAN = Timing(pulse=1.0, lost_after=10.0)


def test_two_timings_judge_each_other_by_the_slower_one():
    node = membership()
    heard = node.receive(heartbeat("web2", heard=ME, timing=WAN.microseconds), now=0.01)
    live(node, until=1.01)
    heard += node.receive(heartbeat("web2", seq=2, timing=WAN.microseconds), now=1.01)
    told = said(heard, "web2 has another [heartbeat] (pulse 1 s, lost_after 10 s) than this node (pulse 0.05 s, lost_")
    assert len(told) == 1
    deaths = [when for when, effect in live(node, until=12) if said([effect], "web2 is dead")]
    assert deaths == [1.01 + WAN.lost_after]


def test_after_the_death_of_a_slow_node_others_wait_for_its_guard():
    node = membership()
    node.set_wants(True, now=0.0)
    node.receive(heartbeat("web2", timing=WAN.microseconds, wants=True, view=views_of("web2")), now=0.01)
    live(node, until=10.01 + WAN.guard - P)
    assert "its lease must have run out" in node.why_not_claimed(now=10.01 + WAN.guard - P)
    live(node, until=10.01 + WAN.guard + P)
    assert node.claimed


def test_a_node_that_guards_against_one_that_this_node_never_heard_is_waited_for():
    node = membership()
    node.set_wants(True, now=0.0)
    view = views_of("web1", "web2")
    said_by_web2 = {"wants": True, "view": view, "guarding": True}
    node.receive(heartbeat("web2", heard=ME, **said_by_web2), now=0.01)
    for number in range(2, 20):
        now = number * P
        live(node, until=now)
        said_by_web2["guarding"] = number < 15
        node.receive(heartbeat("web2", seq=number, heard=[("web1", 7, node._seq)], **said_by_web2), now=now)
        assert node.claimed == (number >= 15), number
    assert node.view == view


def test_a_new_node_listens_as_long_as_the_slowest_of_those_whom_the_others_hear_may_hold():
    node = membership()
    node.set_wants(True, now=0.0)
    node.receive(heartbeat("web2", timing=LAN.microseconds, slowest=WAN.microseconds), now=0.01)
    live(node, until=WAN.lost_after - P)
    assert not node.compose(now=WAN.lost_after - P).wants
    live(node, until=WAN.lost_after + P)
    assert node.compose(now=WAN.lost_after + P).wants


def test_a_new_node_listens_as_long_as_those_may_hold_whom_it_heard_before_its_start():
    before = membership()
    effects = before.receive(heartbeat("web2", boot=4, timing=WAN.microseconds), now=0.01)
    (known,) = [effect.peers for effect in effects if isinstance(effect, Remember)]
    assert known == {"web2": KnownPeer(4, WAN)}
    node = membership(boot=8, known=known)
    node.set_wants(True, now=0.0)
    live(node, until=2 * WAN.lost_after - P)
    assert node.view == ()
    live(node, until=2 * WAN.lost_after + P)
    assert node.view == views_of("web1")
    assert node.compose(now=2 * WAN.lost_after + P).slowest == LAN.microseconds


def test_who_has_left_or_died_holds_nothing_at_the_next_start():
    node = membership()
    node.receive(heartbeat("web2", boot=4, timing=WAN.microseconds), now=0.01)
    node.receive(heartbeat("web3", boot=5, timing=LAN.microseconds), now=0.01)
    effects = node.receive(heartbeat("web2", boot=4, seq=2, leave=True), now=0.02)
    effects += [effect for _, effect in live(node, until=1)]
    assert [effect.peers for effect in effects if isinstance(effect, Remember)][-1] == {
        "web2": KnownPeer(4),
        "web3": KnownPeer(5),
    }


def test_after_a_death_nobody_claims_for_the_guard():
    farm = Farm("web1", "web2", "web3").run(until=1)
    del farm.nodes["web3"]
    farm.run(until=1 + T - P)
    assert farm.nodes["web1"].membership.claimed
    farm.run(until=1 + T + P)
    assert farm.views()["web1"] == ["web1", "web2"]
    assert not farm.nodes["web1"].membership.claimed
    assert "lease" in farm.nodes["web1"].membership.why_not_claimed(now=farm.now)
    farm.run(until=1 + T + LAN.guard + P)
    assert farm.nodes["web1"].membership.claimed


def test_a_leaver_closes_first_says_so_three_times_and_is_not_waited_for():
    farm = Farm("web1", "web2").run(until=1)
    words = []
    leaver = farm.nodes.pop("web2")
    output = leaver.leave(now=1)
    assert not leaver.share.holding
    while not leaver.membership.said_farewell:
        words += output.sends
        farm.deliver("web2", output)
        output = leaver.tick(now=leaver.next_tick_at())
    words += output.sends
    assert [word.heartbeat.leave for word in words] == [True, True, True]
    assert farm.said("web2 has left")
    assert farm.nodes["web1"].membership.view == views_of("web1")
    assert farm.nodes["web1"].membership.claimed


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


def test_an_edge_needs_the_current_boot_of_both():
    node = membership()
    node.receive(heartbeat("web2", heard=[("web1", 6, 1)]), now=0.1)
    assert not node.peers.edges()
    node.receive(heartbeat("web2", seq=2, heard=[("web1", 7, 1)]), now=0.1)
    assert node.peers.edges()


def test_who_asks_is_answered_at_once_but_not_more_often_than_every_8_ms():
    node = membership()
    live(node, until=0.301)
    assert Answer("web2") in node.receive(heartbeat("web2", ask=True), now=0.301)
    live(node, until=0.35)
    assert Answer("web2") in node.receive(heartbeat("web2", seq=2, ask=True), now=0.350)
    assert Answer("web3") in node.receive(heartbeat("web3", ask=True), now=0.350)
    assert Answer("web2") not in node.receive(heartbeat("web2", seq=3, ask=True), now=0.351)
    assert node.next_tick_at() <= 0.358


def test_many_who_ask_at_once_are_answered_by_one_broadcast():
    names = tuple(f"web{number}" for number in range(1, 41))
    node = membership(names=names)
    live(node, until=0.301)
    effects = []
    for name in names[1:]:
        effects += node.receive(heartbeat(name, ask=True), now=0.301)
    assert sum(isinstance(effect, Answer) for effect in effects) == 16
    assert node.next_tick_at() <= 0.309


def test_the_lease_runs_lost_after_from_now_for_a_node_alone():
    node = membership()
    node.compose(now=3.0)
    assert node.lease == 3.0 + T


def test_the_lease_counts_from_what_the_others_have_heard():
    farm = Farm("web1", "web2").run(until=1)
    farm.cut.add(("web1", "web2"))
    deaf_since = farm.now
    farm.run(until=1 + 2.5 * P)
    lease = farm.nodes["web1"].membership.lease
    assert lease <= deaf_since + T + LAN.guard - 0.6 * P


def test_a_node_whose_heartbeats_nobody_hears_stops_before_the_others_take_over():
    farm = Farm("web1", "web2").run(until=1)
    frozen = farm.nodes.pop("web1")
    last_heard = farm.nodes["web2"].membership.peers.by_name["web1"].heard_at
    farm.run(until=last_heard + T + LAN.guard - 0.001)
    assert frozen.share.until < farm.now
    assert not farm.nodes["web2"].membership.claimed
    farm.run(until=last_heard + T + LAN.guard + 0.001)
    assert farm.nodes["web2"].membership.claimed


def test_when_the_lease_runs_out_everything_is_let_go_and_proofs_are_void():
    node = membership()
    node.holding = node.claimed = True
    node.compose(now=0.1)
    epoch = node._epoch
    node._expected = 0.1 + T
    effects = node.tick(now=0.1 + T)
    assert Release() in effects
    assert node._epoch > epoch
    assert not node.claimed


def test_waking_late_does_not_blame_the_others():
    node = membership()
    node.receive(heartbeat("web2", heard=ME), now=0.01)
    live(node, until=0.3)
    late = node.next_tick_at() + 0.25
    assert not said(node.tick(now=late), "dead")
    assert [when for when, effect in live(node, until=2) if said([effect], "dead")] == [pytest.approx(0.01 + T + 0.25)]


def test_waking_late_does_not_prolong_a_guard_that_runs_since_the_lease_it_waits_for_ends_all_the_same():
    node = membership()
    node.receive(heartbeat("web2", view=views_of("web2"), heard=[("web1", 7, 1)]), now=0.01)
    live(node, until=0.01 + T + P / 2)
    guard = node._guard_until
    node.tick(now=node.next_tick_at() + 0.04)
    assert node._guard_until == guard


def test_waking_later_than_lost_after_starts_again():
    node = membership()
    node.tick(now=0.0)
    effects = node.receive(heartbeat("web2"), now=0.05 + T)
    assert Release() in effects
    assert any(isinstance(effect, Reincarnate) for effect in effects)
    assert node.tick(now=2) == []


def test_a_claim_waits_for_each_member_that_is_heard():
    farm = Farm("web1", "web2", "web3").run(until=1)
    farm.cut |= {("web3", "web1"), ("web3", "web2")}
    farm.deliver("web2", farm.nodes["web2"].set_powers((2,), now=farm.now))
    farm.run(until=1 + P)
    assert "web3" in farm.nodes["web1"].membership.why_not_claimed(now=farm.now)
    farm.cut.clear()
    farm.run(until=1 + 3 * P)
    assert farm.nodes["web1"].membership.claimed


def test_a_claim_that_waits_long_says_for_whom_and_is_not_forced():
    node = membership(names=("web1", "web2"))
    node.set_wants(True, now=0)
    effects = []
    for step in range(80):
        now = step * P / 2
        # web2 goes on in a view of its own powers, though it hears this node well.
        view = (("web1", (1,)), ("web2", (9,)))
        effects += node.receive(
            heartbeat("web2", seq=step + 1, wants=True, view=view, heard=[("web1", 7, node._seq)]), now=now
        )
        effects += node.tick(now=now)
        for effect in list(effects):
            if isinstance(effect, Broadcast):
                node.compose(now=now)
                effects.remove(effect)
    assert not node.claimed
    assert len(said(effects, "still waits: no proof yet from web2")) == 1


def test_one_that_never_lists_this_node_is_ignored_after_twice_lost_after():
    farm = Farm("web1", "web2", farm_names=("web1", "web2", "web3"))
    deaf = 0
    while farm.now < 2 * T + 4 * P:
        deaf += 1
        for name in ("web1", "web2"):
            farm.deliver(name, farm.nodes[name].receive(heartbeat("web3", seq=deaf), now=farm.now))
        farm.run(until=farm.now + P / 2)
        if T + 2 * P < farm.now < 2 * T:
            assert farm.holders() == []
    assert farm.holders() == ["web1", "web2"]


def test_of_two_of_which_one_is_not_heard_the_other_serves():
    farm = Farm("web1", "web2").run(until=1)
    farm.cut.add(("web1", "web2"))
    farm.run(until=3)
    assert farm.holders() == ["web2"]
    assert "no mutual link" in farm.nodes["web1"].membership.out_reason


def test_two_that_cannot_reach_each_other_do_not_both_serve_beside_a_third():
    farm = Farm("web1", "web2", "web3").run(until=1)
    farm.cut |= {("web1", "web2"), ("web2", "web1")}
    farm.run(until=4)
    # Who notices first serves; either will do.
    (out,) = [name for name, view in farm.views().items() if not view]
    assert out in ("web1", "web2")
    both = sorted({"web1", "web2", "web3"} - {out})
    assert farm.views() == dict.fromkeys(both, both) | {out: []}
    assert farm.holders() == both


def test_in_a_partition_each_side_serves():
    farm = Farm("web1", "web2", "web3").run(until=1)
    farm.cut |= {(a, b) for a, b in [("web1", "web2"), ("web1", "web3")]}
    farm.cut |= {(b, a) for a, b in farm.cut}
    farm.run(until=3)
    assert farm.views() == {"web1": ["web1"], "web2": ["web2", "web3"], "web3": ["web2", "web3"]}
    assert farm.holders() == ["web1", "web2", "web3"]


def test_with_partition_majority_only_the_larger_side_serves():
    farm = Farm("web1", "web2", "web3", partition="majority").run(until=1)
    farm.cut |= {(a, b) for a, b in [("web1", "web2"), ("web1", "web3")]}
    farm.cut |= {(b, a) for a, b in farm.cut}
    farm.run(until=3)
    assert farm.holders() == ["web2", "web3"]
    assert farm.nodes["web1"].membership.out_reason == "this node reaches 1 of 3 nodes, which is not more than half"


def test_parts_that_meet_again_agree_on_one_view():
    farm = Farm("web1", "web2", "web3").run(until=1)
    farm.cut |= {("web1", "web2"), ("web2", "web1"), ("web1", "web3"), ("web3", "web1")}
    farm.run(until=3)
    farm.cut.clear()
    farm.run(until=3 + 2 * P)
    assert set(map(tuple, farm.views().values())) == {("web1", "web2", "web3")}
    assert farm.holders() == ["web1", "web2", "web3"]


def test_a_node_with_other_settings_is_out_and_says_why():
    farm = Farm("web1", "web2", "web3").run(until=1)
    farm.deliver("web3", farm.nodes["web3"].set_settings(b"edited", now=farm.now))
    farm.run(until=2)
    assert farm.views() == {"web1": ["web1", "web2"], "web2": ["web1", "web2"], "web3": []}
    assert "differs from the majority's" in farm.nodes["web3"].membership.out_reason


def test_on_a_tie_of_settings_those_who_serve_count():
    farm = Farm("web1", "web2").run(until=1)
    farm.deliver("web2", farm.nodes["web2"].set_wants(False, now=farm.now))
    farm.run(until=1.2)
    farm.deliver("web2", farm.nodes["web2"].set_settings(b"zzz", now=farm.now))
    farm.deliver("web2", farm.nodes["web2"].set_wants(True, now=farm.now))
    farm.run(until=2)
    assert farm.holders() == ["web1"]


def test_power_0_takes_no_share():
    farm = Farm("web1", "web2").run(until=1)
    farm.deliver("web2", farm.nodes["web2"].set_powers((0,), now=farm.now))
    farm.run(until=1 + 2 * P)
    assert farm.views() == {"web1": ["web1"], "web2": []}
    assert farm.nodes["web2"].membership.out_reason == "the power of this node is 0"


def test_a_module_that_is_not_ready_gives_its_reason():
    farm = Farm("web1", "web2").run(until=1)
    node = farm.nodes["web2"]
    farm.deliver(
        "web2", node.set_application(role="UP", status="Transient", draining=False, reason="HTTP fails", now=1)
    )
    farm.deliver("web2", node.set_wants(False, now=1))
    assert node.membership.out_reason == "HTTP fails"
    assert farm.views()["web1"] == ["web1"]


def test_a_change_is_told_at_once_and_then_four_times_a_pulse_for_two_pulses():
    node = membership(names=("web1", "web2"))
    now, sent = 0.0, []
    while now < 1.2:
        if any(isinstance(effect, Broadcast) for effect in node.tick(now=now)):
            node.compose(now=now)
            sent.append(now)
        now = node.next_tick_at()
        if len(sent) == 20:
            node.set_powers((2,), now=now - 0.02)
            changed, sent = now - 0.02, [*sent, None]
            now = node.next_tick_at()
    after = [when - changed for when in sent[21:]]
    assert after[0] == pytest.approx(0, abs=1e-9)
    assert [round(b - a, 4) for a, b in pairwise(after)][:8] == [P / 4] * 8
    assert round(after[-1] - after[-2], 4) == P


def test_what_is_heard_under_the_own_name_changes_nothing():
    node = membership(boot=7)
    assert node.receive(heartbeat("web1", boot=8), now=0.01) == []
    assert node.refused["own name"] == 1


# Recordings


def test_a_recording_counts_for_nothing_however_long_it_is_played():
    node = membership()
    node.set_wants(True, now=0.0)
    # Of a former boot of this node, by one that served with it.
    recorded = {"boot": 3, "wants": True, "holding": True, "role": "UP", "status": "Ready", "settings": b"other"}
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


# Who lets go last


def told_by(output):
    """Give the last heartbeat to all among what a node has said."""
    return [send.heartbeat for send in output.sends if len(send.to) > 1][-1]


def settled_farm():
    farm = Farm("web1", "web2", "web3").run(until=2)
    assert farm.holders() == ["web1", "web2", "web3"]
    return farm


def test_a_drained_node_keeps_its_share_until_all_others_have_adopted_a_view_without_it():
    farm = settled_farm()
    drained = farm.nodes["web1"]
    said = told_by(drained.set_wants(False, now=2))
    assert (said.wants, len(said.view), drained.share.holding) == (False, 3, True)
    answers = [told_by(farm.nodes[name].receive(said, now=2)) for name in ("web2", "web3")]
    assert [[name for name, _ in answer.view] for answer in answers] == [["web2", "web3"]] * 2
    drained.receive(answers[0], now=2)
    assert drained.share.holding
    last = told_by(drained.receive(answers[1], now=2))
    assert (last.view, last.holding, drained.share.holding) == ((), False, False)
    # It was the last one: with its word the others claim.
    assert not any(farm.nodes[name].membership.claimed for name in ("web2", "web3"))
    for name, other in (("web2", answers[1]), ("web3", answers[0])):
        farm.deliver(name, farm.nodes[name].receive(other, now=2))
    for name in ("web2", "web3"):
        farm.deliver(name, farm.nodes[name].receive(last, now=2))
    assert all(farm.nodes[name].membership.claimed for name in ("web2", "web3"))


def test_a_drained_node_waits_for_the_others_for_half_a_pulse_at_most():
    farm = settled_farm()
    farm.cut = {(one, other) for one in farm.nodes for other in farm.nodes}
    drained = farm.nodes["web1"]
    drained.set_wants(False, now=2)
    farm.run(until=2 + P / 2 - 0.001)
    assert drained.share.holding
    farm.run(until=2 + P / 2 + 0.001)
    assert not drained.share.holding


def test_a_drained_node_without_others_lets_go_at_once():
    farm = Farm("web1").run(until=2)
    farm.nodes["web1"].set_wants(False, now=2)
    assert not farm.nodes["web1"].share.holding


def test_a_drain_that_is_taken_back_before_the_others_know_moves_nothing():
    farm = settled_farm()
    node = farm.nodes["web1"]
    node.set_wants(False, now=2)
    node.set_wants(True, now=2)
    farm.run(until=3)
    assert not farm.said("out of the view")
    assert node.share.holding


@pytest.mark.parametrize(("powers", "waits"), [((2,), True), ((4,), False)])
def test_who_takes_power_from_itself_adopts_the_view_after_the_others_and_who_takes_more_at_once(powers, waits):
    farm = settled_farm()
    node = farm.nodes["web1"]
    farm.deliver("web1", node.set_powers((3,), now=2))
    farm.run(until=3)
    said = told_by(node.set_powers(powers, now=3))
    assert said.powers == powers
    assert (dict(said.view)["web1"] == (3,)) == waits
    for name in ("web2", "web3"):
        farm.deliver(name, farm.nodes[name].receive(said, now=3))
    assert {node.membership.view for node in farm.nodes.values()} == {
        (("web1", powers), ("web2", (1,)), ("web3", (1,)))
    }


def test_a_node_that_may_not_hold_its_share_lets_go_at_once():
    farm = settled_farm()
    node = farm.nodes["web1"]
    node.leave(now=2)
    assert not node.share.holding


def test_new_connections_in_buckets_of_others_are_told_at_once_and_those_that_have_ended_in_time():
    node = membership()
    live(node, until=0.3)
    node.set_dirty(dirty=True, buckets=b"\x03", now=0.3)
    assert node.next_tick_at() <= 0.3
    live(node, until=1.0)
    in_time = node.next_tick_at()
    assert node.set_dirty(dirty=True, buckets=b"\x01", now=1.0) == []
    assert node.next_tick_at() == in_time > 1.0
    assert node.compose(now=1.0).dirty_buckets == b"\x01"


def test_a_claim_waits_for_the_lease_of_this_node_too():
    node = membership()
    node.set_wants(True, now=0.0)
    live(node, until=0.3)
    node.receive(heartbeat("web2", wants=True, view=views_of("web1", "web2"), heard=ME), now=0.3)
    live(node, until=0.7)
    assert node.why_not_claimed(now=0.7) == "no proof yet from web2"
    assert node.why_not_claimed(now=9) == "the lease of this node is not open"


def test_that_another_node_is_refused_is_its_own_affair():
    node = membership()
    usual = node.receive(heartbeat("web2", heard=ME), now=0.01)
    assert [type(one) for one in usual] == [
        type(one) for one in membership().receive(heartbeat("web2", heard=ME, refuses=(("web3", 9),)), now=0.01)
    ]


def test_a_newcomer_that_a_member_never_meets_stays_out():
    farm = Farm("web1", "web3", farm_names=("web1", "web2", "web3")).run(until=2)
    farm.cut = {("web2", "web3"), ("web3", "web2")}
    farm.boot("web2")
    farm.run(until=2 + 6 * T)
    assert farm.views()["web1"] == ["web1", "web3"]
    assert farm.holders() == ["web1", "web3"]


def test_a_member_proposes_no_newcomer_right_after_a_change_of_the_view():
    node = membership()
    node.set_wants(True, now=0.0)
    live(node, until=1.01)
    changed = node.next_tick_at()
    node.tick(now=changed)
    assert node.view == views_of("web1")
    heard = [("web1", 7, node.compose(now=changed).seq)]
    node.receive(heartbeat("web2", wants=True, powers=(1,), heard=heard), now=changed + 0.001)
    node.tick(now=changed + P / 2 - 0.001)
    assert node.view == views_of("web1")
    node.tick(now=changed + P / 2)
    assert node.view == views_of("web1", "web2")
