"""What an action does to clients, before it is done."""

import pytest

from hcsidecar.core.console.action_effects import FarmAction, action_effect, possible_actions
from hcsidecar.core.console.documents import FarmOverview, NodeOverview
from hcsidecar.core.documents import NodeStatus


def node(name, *, answers=True, seen=None, told=True, **status):
    usual = {"name": name, "alive": True, "role": "UP", "status": "Ready", "power": 1, "powers": {"web": 1}}
    return NodeOverview(name=name, answers=answers, status=NodeStatus(**(usual | status)) if told else None, seen=seen)


def farm(*nodes, keep_ready=1, shares=("web",)):
    return FarmOverview(
        farm="apache", node="web1", version="1", keep_ready=keep_ready, lame_duck=10, shares=shares, nodes=nodes
    )


THREE = (node("web1"), node("web2"), node("web3"))


def test_a_node_that_stops_leaves_its_share_to_the_others():
    effect = action_effect(farm(*THREE), FarmAction.STOP, ["web2"])
    assert (effect.ready_before, effect.ready_after, effect.total) == (3, 2, 3)
    assert set(effect.shares["web"]) == {"web1", "web3"}
    assert sum(effect.shares["web"].values()) == pytest.approx(1)
    assert effect.shares["web"]["web1"] == pytest.approx(0.5, abs=0.05)
    assert effect.changes
    assert not effect.breaks_keep_ready
    assert not effect.leaves_nobody


def test_below_keep_ready_it_asks_again():
    effect = action_effect(farm(*THREE, keep_ready=3), FarmAction.DRAIN, ["web2"])
    assert effect.breaks_keep_ready
    assert not effect.leaves_nobody


def test_a_farm_that_is_below_keep_ready_already_may_grow():
    few = farm(node("web1"), node("web2", role="STOP", status="NotReady"), keep_ready=2)
    assert not action_effect(few, FarmAction.START, ["web2"]).breaks_keep_ready
    assert action_effect(few, FarmAction.STOP, ["web1"]).breaks_keep_ready


def test_all_at_once_would_leave_nobody_and_one_after_the_other_takes_one():
    effect = action_effect(farm(*THREE), FarmAction.RESTART, [])
    assert effect.leaves_nobody
    assert effect.shares["web"] == {}
    rolling = action_effect(farm(*THREE), FarmAction.ROLLING_RESTART, [])
    assert (rolling.ready_after, rolling.leaves_nobody) == (2, False)


def test_a_start_brings_a_node_back():
    effect = action_effect(farm(node("web1"), node("web2", role="STOP", status="NotReady")), FarmAction.START, [])
    assert [(each.node, each.changes) for each in effect.nodes] == [("web1", False), ("web2", True)]
    assert (effect.ready_before, effect.ready_after) == (1, 2)


@pytest.mark.parametrize(
    ("action", "status", "changes"),
    [
        ("resume", {"draining": True}, True),
        ("resume", {"parting": True}, True),
        ("resume", {}, False),
        ("drain", {}, True),
        ("drain", {"draining": True}, False),
        ("drain", {"role": "STOP", "status": "NotReady"}, False),
        ("stop", {"role": "WAIT", "status": "NotReady"}, True),
        ("stop", {"role": "STOP", "status": "NotReady"}, False),
        ("leave", {"role": "STOP", "status": "NotReady"}, False),
        ("restart-daemon", {"role": "STOP", "status": "NotReady"}, True),
    ],
)
def test_what_is_so_already_does_not_change(action, status, changes):
    effect = action_effect(farm(node("web1", **status)), FarmAction(action), ["web1"])
    assert effect.changes is changes


def test_another_power_moves_a_part_of_the_clients():
    before = action_effect(farm(*THREE), FarmAction.POWER, ["web1"], power=1).shares["web"]
    effect = action_effect(farm(*THREE), FarmAction.POWER, ["web1"], power=2)
    assert (effect.ready_before, effect.ready_after) == (3, 3)
    assert effect.shares["web"]["web1"] == pytest.approx(0.5, abs=0.05)
    assert before["web1"] == pytest.approx(1 / 3, abs=0.05)
    assert action_effect(farm(*THREE), FarmAction.POWER, ["web1"], power=0).shares["web"]["web1"] == 0


def test_a_node_that_does_not_answer_is_not_told_and_nothing_of_it_is_foretold():
    silent = node("web2", answers=False, told=False, seen=NodeStatus(name="web2", alive=True, powers={"web": 3}))
    unknown = node("web3", answers=False, told=False)
    effect = action_effect(farm(node("web1"), silent, unknown), FarmAction.STOP, ["web2", "web3"])
    assert [(each.node, each.answers) for each in effect.nodes] == [("web2", False), ("web3", False)]
    assert (effect.ready_before, effect.ready_after) == (1, 1)
    assert possible_actions(silent) == ()


def test_a_node_whose_powers_nobody_knows_has_no_share():
    told = NodeOverview(name="web2", answers=True, status=None)
    effect = action_effect(farm(node("web1"), told), FarmAction.START, ["web2"])
    assert not effect.changes
    assert effect.shares["web"] == {"web1": 1.0}
    forced = action_effect(farm(node("web1"), told), FarmAction.RESTART, ["web2"])
    assert forced.changes


def test_without_layer_two_there_are_no_shares():
    assert action_effect(farm(*THREE, shares=()), FarmAction.STOP, ["web1"]).shares == {}


@pytest.mark.parametrize(
    ("status", "first"),
    [
        ({}, FarmAction.DRAIN),
        ({"draining": True}, FarmAction.RESUME),
        ({"role": "STOP", "status": "NotReady"}, FarmAction.START),
        ({"role": "WAIT", "status": "NotReady"}, FarmAction.START),
    ],
)
def test_the_actions_that_make_sense_are_offered(status, first):
    assert possible_actions(node("web1", **status))[0] is first


def test_what_comes_back_is_told_from_what_does_not():
    assert [action for action in FarmAction if action.comes_back] == [
        FarmAction.RESTART,
        FarmAction.RESTART_DAEMON,
        FarmAction.ROLLING_RESTART,
        FarmAction.ROLLING_RESTART_DAEMON,
    ]
