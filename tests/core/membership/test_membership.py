"""One test per sentence of the protocol; whole histories are the simulation's."""

from itertools import pairwise

import pytest
from small_farm import LAN, ME, Farm, P, T, heartbeat, live, membership, said, views_of

from hcsidecar.core.membership.effects import Answer, Broadcast, Reincarnate, Release, Remember
from hcsidecar.core.membership.peers import KnownPeer
from hcsidecar.core.membership.timing import Timing


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
    farm.deliver("web3", farm.nodes["web3"].set_layer_two(settings_digest=b"edited", powers=(1,), now=farm.now))
    farm.run(until=2)
    assert farm.views() == {"web1": ["web1", "web2"], "web2": ["web1", "web2"], "web3": []}
    assert "differs from the majority's" in farm.nodes["web3"].membership.out_reason


def test_a_change_of_settings_begins_an_epoch_though_the_view_is_the_same_by_name():
    farm = Farm("web1").run(until=3)
    membership = farm.nodes["web1"].membership
    assert membership.claimed
    effects = membership.set_layer_two(settings_digest=b"edited", powers=(1,), now=farm.now)
    kinds = [type(effect).__name__ for effect in effects]
    assert kinds.index("Adopt") < kinds.index("Claim")
    assert "view: web1; share groups changed" in [
        effect.event.message for effect in effects if hasattr(effect, "event")
    ]


def test_powers_alone_leave_the_epoch_to_the_view():
    farm = Farm("web1").run(until=1)
    membership = farm.nodes["web1"].membership
    assert (
        membership.set_layer_two(settings_digest=membership.settings_digest, powers=membership.powers, now=farm.now)
        == []
    )


def test_on_a_tie_of_settings_those_who_serve_count():
    farm = Farm("web1", "web2").run(until=1)
    farm.deliver("web2", farm.nodes["web2"].set_wants(False, now=farm.now))
    farm.run(until=1.2)
    farm.deliver("web2", farm.nodes["web2"].set_layer_two(settings_digest=b"zzz", powers=(1,), now=farm.now))
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


def test_newcomers_that_a_member_has_not_met_for_twice_lost_after_count_all_the_same():
    node = membership(names=("web1", "web2", "web3", "web4"))
    node.set_wants(True, now=0.0)
    hears = {"web2": ["web1"]}
    came, views = None, []
    for step in range(1, 80):
        now = step * P
        if came is None and node.view == views_of("web1", "web2"):
            came = now
            hears |= {"web3": ["web1", "web4"], "web4": ["web1", "web3"]}
        own_seq = node.compose(now=now).seq
        boots = {"web1": 7, "web3": 1, "web4": 1}
        for name, others in hears.items():
            heard = [(other, boots[other], own_seq if other == "web1" else step - 1) for other in others]
            view = node.view if name in dict(node.view) else ()
            node.receive(heartbeat(name, seq=step, wants=True, powers=(1,), view=view, heard=heard), now=now)
        live(node, until=now + P)
        views.append((now, node.view))
    assert {view for now, view in views if came <= now < came + 2 * T - P} == {views_of("web1", "web2")}
    assert views[-1][1] == views_of("web1", "web3", "web4")
