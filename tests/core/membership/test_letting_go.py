"""When a node that gives up its share, or a part of it, lets go: after the others have adopted a view without it."""

import pytest
from small_farm import Farm, P


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
