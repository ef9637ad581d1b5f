"""The level and the word of a node and of the farm."""

import pytest

from hcsidecar.core.console.documents import FarmOverview, NodeOverview
from hcsidecar.core.console.farm_view import StateLevel, farm_state, state_of
from hcsidecar.core.documents import NodeStatus


def node(name="web1", *, answers=True, seen_alive=None, **status):
    seen = None if seen_alive is None else NodeStatus(name=name, alive=seen_alive)
    told = NodeStatus(**{"name": name, "alive": True, "role": "UP", "status": "Ready", **status})
    return NodeOverview(name=name, answers=answers, status=told, seen=seen)


@pytest.mark.parametrize(
    ("overview", "level", "word", "serves"),
    [
        (node(), "good", "Ready", True),
        (node(draining=True), "changing", "draining", False),
        (node(parting=True, draining=True), "changing", "leaving", True),
        (node(status="Transient"), "changing", "changing", False),
        (node(role="STOP", status="NotReady"), "stopped", "stopped", False),
        (node(role="WAIT", status="NotReady"), "bad", "waiting", False),
        (node(role="UP", status="NotReady"), "bad", "not Ready", False),
        (node(answers=False), "unknown", "does not answer", False),
        (node(answers=False, seen_alive=True), "unknown", "does not answer", False),
        (node(answers=False, seen_alive=False), "bad", "not heard", False),
        (NodeOverview(name="web1", answers=True), "unknown", "does not answer", False),
    ],
)
def test_a_node_has_one_level_and_one_word(overview, level, word, serves):
    state = state_of(overview)
    assert (state.level, state.word, state.serves) == (level, word, serves)


@pytest.mark.parametrize(
    ("nodes", "keep_ready", "level", "ready"),
    [
        ((node("web1"), node("web2")), 1, StateLevel.GOOD, 2),
        ((node("web1"), node("web2", draining=True)), 1, StateLevel.CHANGING, 1),
        ((node("web1"), node("web2", draining=True)), 2, StateLevel.BAD, 1),
        ((node("web1"), node("web2", answers=False)), 1, StateLevel.UNKNOWN, 1),
        ((node("web1"), node("web2", answers=False, seen_alive=False)), 1, StateLevel.BAD, 1),
        ((node("web1", role="STOP", status="NotReady"),), 0, StateLevel.BAD, 0),
    ],
)
def test_the_farm_is_as_well_as_its_worst_node_and_bad_below_keep_ready(nodes, keep_ready, level, ready):
    overview = FarmOverview(farm="apache", node="web1", version="1", keep_ready=keep_ready, lame_duck=10, nodes=nodes)
    state = farm_state(overview)
    assert (state.level, state.ready, state.total) == (level, ready, len(nodes))


def test_the_farm_names_the_nodes_that_are_not_well():
    overview = FarmOverview(
        farm="apache",
        node="web1",
        version="1",
        keep_ready=1,
        lame_duck=10,
        nodes=(node("web1"), node("web2", draining=True)),
    )
    assert list(farm_state(overview).not_good) == [("web2", "draining")]
