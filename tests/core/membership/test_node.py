"""The order in which a node acts: the share closes before the heartbeat that says so is composed."""

import ast
import inspect

from small_farm import LAN, FakeShare, Farm, heartbeat

from hcsidecar.core.membership import node as node_module
from hcsidecar.core.membership.node import NOTHING, Node, NoShare
from hcsidecar.core.membership.revision_state import RevisionState


class WitnessShare(FakeShare):
    """Notes which heartbeats had been composed when it was told something."""

    node = None

    def adopt(self, view):
        super().adopt(view)
        self.calls[-1] = (*self.calls[-1], self.node.membership._seq)


def make(share):
    return Node(
        name="web1",
        boot=1,
        nodes=("web1", "web2"),
        farm="apache",
        timing=LAN,
        settings_digest=b"digest",
        powers=(1,),
        share=share,
        now=0.0,
    )


def test_a_node_changes_its_membership_only_by_methods():
    stores = [
        node
        for node in ast.walk(ast.parse(inspect.getsource(node_module)))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    ]
    assert {ast.unparse(node.value) for node in stores} == {"self"}


def test_whatever_an_earlier_boot_left_open_is_closed_before_the_first_word():
    share = FakeShare()
    share.holding = True
    make(share)
    assert share.calls == [("release",)]
    assert not share.holding


def test_the_share_has_adopted_a_view_before_the_heartbeat_with_it_is_composed():
    share = WitnessShare()
    share.node = node = make(share)
    output = node.set_wants(True, now=0.0)
    while not node.membership.view:
        output = node.tick(now=node.next_tick_at())
    first_with_view = next(send.heartbeat for send in output.sends if send.heartbeat.view)
    (adoption,) = [call for call in share.calls if call[0] == "adopt"]
    assert adoption[2] < first_with_view.seq


def test_the_lease_is_renewed_by_heartbeats_to_all_and_not_by_answers():
    share = FakeShare()
    node = make(share)
    assert node.tick(now=0.0).sends
    renewed = share.until
    assert renewed == LAN.lost_after
    (answer,) = node.receive(heartbeat("web2", ask=True), now=0.01).sends
    assert answer.to == ("web2",)
    assert answer.heartbeat.heard_seqs == (1,)
    assert share.until == renewed


def test_a_node_that_stood_still_has_closed_its_share_and_asks_to_be_born_anew():
    share = FakeShare()
    node = make(share)
    node.tick(now=0.0)
    output = node.tick(now=10.0)
    assert (output.sends, output.reborn_above) == ([], -1)
    assert [event.message for event in output.events] == ["this node stood still for 9.95 s: starts again"]
    assert share.calls[-1] == ("release",)


def test_a_node_without_a_share_takes_part_and_holds_nothing():
    farm = Farm("web1", "web2").run(until=1)
    share = NoShare()
    for told in (share.claim, share.release, lambda: share.adopt(()), lambda: share.renew(1.0)):
        told()
    assert not share.holding
    assert not share.dirty
    assert farm.views()["web1"] == ["web1", "web2"]


def test_a_dirty_share_is_told_to_the_others():
    farm = Farm("web1", "web2").run(until=1)
    farm.nodes["web1"].share.dirty = True
    farm.deliver("web1", farm.nodes["web1"].set_dirty(now=farm.now))
    farm.run(until=1.1)
    assert farm.nodes["web2"].membership.peers.by_name["web1"].heartbeat.dirty


def test_the_share_meets_a_dirty_neighbour_before_it_claims_what_that_one_gave_up():
    farm = Farm("web1", "web2").run(until=1)
    farm.nodes["web1"].share.dirty = True
    farm.deliver("web1", farm.nodes["web1"].set_dirty(now=farm.now))
    farm.run(until=1.1)
    (neighbour,) = farm.nodes["web2"].share.neighbours
    assert (neighbour.name, neighbour.dirty, neighbour.dirty_buckets, neighbour.claimed) == ("web1", True, b"", True)
    assert neighbour.view == (("web1", (1,)), ("web2", (1,)))


def test_a_neighbour_that_is_not_heard_any_more_is_met_no_more():
    farm = Farm("web1", "web2").run(until=1)
    farm.cut |= {("web1", "web2"), ("web2", "web1")}
    farm.run(until=2)
    assert farm.nodes["web2"].share.neighbours == ()


def test_that_some_connections_have_ended_is_told_without_haste():
    farm = Farm("web1", "web2").run(until=1)
    node = farm.nodes["web1"]
    node.share.dirty, node.share.dirty_buckets = True, b"\x07"
    farm.deliver("web1", node.set_dirty(now=farm.now))
    farm.run(until=1.5)
    due = node.next_tick_at()
    node.share.dirty_buckets = b"\x05"
    assert node.set_dirty(now=farm.now) == NOTHING
    assert node.next_tick_at() == due
    farm.run(until=1.6)
    assert farm.nodes["web2"].share.neighbours[0].dirty_buckets == b"\x05"


def test_that_connections_may_be_anywhere_is_told_at_once():
    farm = Farm("web1", "web2").run(until=1)
    node = farm.nodes["web1"]
    node.share.dirty, node.share.dirty_buckets = True, b"\x07"
    farm.deliver("web1", node.set_dirty(now=farm.now))
    farm.run(until=1.5)
    due = node.next_tick_at()
    node.share.dirty_buckets = b""
    farm.deliver("web1", node.set_dirty(now=farm.now))
    assert node.next_tick_at() < due


def test_the_others_are_told_the_mac_of_this_node():
    node = make(FakeShare())
    node.set_mac(b"\x02\0\0\0\0\x07", now=0.01)
    sent, *_ = node.tick(now=0.02).sends
    assert sent.heartbeat.mac == b"\x02\0\0\0\0\x07"


def test_what_the_others_say_of_their_revisions_is_told_when_it_changes():
    farm = Farm("web1", "web2")
    told = []
    deliver = farm.deliver

    def note(sender, output):
        if sender == "web1" and output.heard_revisions is not None:
            told.append(output.heard_revisions)
        deliver(sender, output)

    farm.deliver = note
    farm.run(1.0)
    assert told == [{"web2": RevisionState()}]
    second = RevisionState(settled=(2, b"12345678"), highest=2)
    farm.deliver("web2", farm.nodes["web2"].set_revisions(second, now=farm.now))
    farm.run(2.0)
    assert told == [{"web2": RevisionState()}, {"web2": second}]
    farm.cut = {("web2", "web1")}
    farm.run(4.0)
    assert told[2:] == [{}]


def test_a_new_boot_goes_on_saying_which_revision_it_goes_by():
    former, new = make(NoShare()), make(NoShare())
    second = RevisionState(settled=(2, b"12345678"), highest=2)
    former.set_revisions(second, now=0.0)
    new.membership.inherit(former.membership)
    assert new.membership.compose(now=0.0).revisions == second


def test_counters_ride_in_the_next_heartbeat_and_send_none():
    farm = Farm("web1", "web2").run(until=1)
    node = farm.nodes["web1"]
    due = node.next_tick_at()
    node.membership.set_counters((3, 4))
    assert node.next_tick_at() == due
    farm.run(until=due)
    assert farm.nodes["web2"].membership.peers.by_name["web1"].heartbeat.counters == (3, 4)
