"""One node at a time, never below keep_ready, and a stop at the first that does not come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.documents import FarmStatus, NodeStatus
from hcsidecar.core.rolling import SETTLE, Finish, ReportProgress, Rolling, TakeNode, why_not_drain

NAMES = ("web1", "web2", "web3")
READY = {"alive": True, "role": "UP", "status": "Ready", "draining": False, "reason": ""}
STOPPED = {"alive": True, "role": "STOP", "status": "NotReady", "draining": False, "reason": "stopped by the operator"}
RESTARTING = {"alive": True, "role": "UP", "status": "Transient", "draining": True, "reason": "restarting"}
CHECKING = {"alive": True, "role": "UP", "status": "Transient", "draining": False, "reason": "check HTTP: hung"}
DRAINED = {"alive": True, "role": "UP", "status": "Ready", "draining": True, "reason": "drained by the operator"}
SILENT = {"alive": False, "role": None, "status": None, "draining": False, "reason": "silent for 7 s"}


def farm(*, names=NAMES, **others):
    """Give a status document in which all nodes are Ready but those named."""
    nodes = tuple(NodeStatus(name=name, **others.get(name, READY)) for name in names)
    return FarmStatus(farm="apache", node=names[0], view=(), nodes=nodes)


def rolling(keep_ready=1, limit=120.0):
    return Rolling(command="restart", keep_ready=keep_ready, limit=limit)


ADVICE = "`hcsidecar status` and `hcsidecar logs` (with --node NAME) say why; correct the cause, then begin again."


# May a node go?


@pytest.mark.parametrize(
    ("others", "keep_ready", "reason"),
    [
        ({}, 2, None),
        ({}, 3, "without web1, only web2, web3 would be Ready, and [farm] keep_ready is 3"),
        ({"web2": STOPPED, "web3": SILENT}, 1, "without web1, no node would be Ready, and [farm] keep_ready is 1"),
        ({"web2": DRAINED, "web3": CHECKING}, 1, "without web1, no node would be Ready, and [farm] keep_ready is 1"),
        ({"web2": STOPPED, "web3": SILENT}, 0, None),
        ({"web1": CHECKING, "web2": STOPPED, "web3": STOPPED}, 1, None),
    ],
)
def test_a_node_goes_only_if_enough_others_are_ready(others, keep_ready, reason):
    assert why_not_drain(farm(**others), "web1", keep_ready=keep_ready) == reason


# The whole way


def test_nodes_are_taken_one_after_the_other_each_when_the_one_before_is_ready_again():
    roll = rolling()
    assert roll.step(farm(), now=0) == [ReportProgress("web1: restart"), TakeNode("web1")]
    assert roll.step(farm(), now=0) == []
    assert roll.taken(None, now=1) == []
    assert roll.step(farm(web1=RESTARTING), now=2) == []
    assert roll.step(farm(web1=CHECKING), now=8) == []
    assert roll.step(farm(), now=11) == [
        ReportProgress("web1 is Ready again after 10 s"),
        ReportProgress("web2: restart"),
        TakeNode("web2"),
    ]
    roll.taken(None, now=11)
    roll.step(farm(web2=RESTARTING), now=12)
    assert roll.step(farm(), now=13)[-1] == TakeNode("web3")
    roll.taken(None, now=13)
    roll.step(farm(web3=RESTARTING), now=14)
    assert roll.step(farm(), now=15) == [
        ReportProgress("web3 is Ready again after 2 s"),
        Finish(ok=True, text="restart done: web1, web2, web3"),
    ]
    assert roll.over
    assert roll.step(farm(), now=16) == []


def test_a_state_from_before_the_command_does_not_count_as_ready_again():
    roll = rolling()
    roll.step(farm(), now=0)
    roll.taken(None, now=10)
    assert roll.step(farm(), now=10 + SETTLE - 0.1) == []
    assert TakeNode("web2") in roll.step(farm(), now=10 + SETTLE)


def test_a_daemon_that_does_not_answer_for_a_while_is_waited_for():
    roll = rolling()
    roll.step(farm(), now=0)
    roll.taken(None, now=0)
    assert roll.step(None, now=50) == []
    assert TakeNode("web2") in roll.step(farm(), now=60)


def test_stopped_nodes_are_skipped_with_a_word():
    roll = rolling()
    assert roll.step(farm(web1=STOPPED), now=0) == [
        ReportProgress("web1 is stopped: skipped"),
        ReportProgress("web2: restart"),
        TakeNode("web2"),
    ]


def test_a_node_stopped_before_its_turn_is_skipped_too():
    roll = rolling()
    roll.step(farm(), now=0)
    roll.taken(None, now=0)
    assert roll.step(farm(web2=STOPPED), now=SETTLE) == [
        ReportProgress("web1 is Ready again after 3 s"),
        ReportProgress("web2 is stopped: skipped"),
        ReportProgress("web3: restart"),
        TakeNode("web3"),
    ]


def test_a_farm_that_is_stopped_altogether_has_nothing_to_be_done():
    roll = rolling()
    steps = roll.step(farm(names=("web1",), web1=STOPPED), now=0)
    assert steps == [ReportProgress("web1 is stopped: skipped"), Finish(ok=True, text="restart done: no node")]


# Refusals to begin


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({"web2": SILENT}, "web2 is not heard: silent for 7 s"),
        ({"web2": CHECKING}, "web2 is UP(Transient): check HTTP: hung"),
        ({"web2": DRAINED}, "web2 is UP(Ready), draining: drained by the operator"),
        ({"web1": CHECKING | {"role": "WAIT", "reason": ""}}, "web1 is WAIT(Transient)"),
        (
            {"web1": SILENT, "web3": CHECKING},
            "web1 is not heard: silent for 7 s; web3 is UP(Transient): check HTTP: hung",
        ),
    ],
)
def test_it_does_not_begin_in_a_farm_that_is_not_fit(others, reason):
    roll = rolling()
    [finish] = roll.step(farm(**others), now=0)
    assert finish == Finish(
        ok=False, text=f"the farm is not ready for it: {reason} (no node was done before that). {ADVICE}"
    )
    assert roll.over


def test_it_does_not_begin_blindly():
    [finish] = rolling().step(None, now=0)
    assert finish.text.startswith("the state of the farm is unknown")


def test_it_does_not_begin_when_taking_one_leaves_too_few():
    [finish] = rolling(keep_ready=3).step(farm(), now=0)
    assert not finish.ok
    assert finish.text.startswith("without web1, only web2, web3 would be Ready, and [farm] keep_ready is 3")


# Giving up


def test_a_farm_of_one_node_is_taken_all_the_same_because_nobody_else_could_stay_ready():
    roll = rolling(keep_ready=1)
    alone = farm(names=("web1",))
    assert roll.step(alone, now=0) == [ReportProgress("web1: restart"), TakeNode("web1")]


def test_it_stops_at_the_first_node_that_does_not_come_back_and_says_what_to_do():
    roll = rolling(limit=60)
    roll.step(farm(), now=0)
    roll.taken(None, now=0)
    assert TakeNode("web2") in roll.step(farm(), now=5)
    roll.taken(None, now=5)
    assert roll.step(farm(web2=CHECKING), now=64.9) == []
    assert roll.step(farm(web2=CHECKING), now=65) == [
        Finish(
            ok=False,
            text="web2 is UP(Transient): check HTTP: hung, 60 s after restart of web2 "
            f"(done before that: web1; not begun: web3). {ADVICE}",
        )
    ]
    assert roll.step(farm(), now=70) == []


def test_another_node_that_fails_meanwhile_holds_the_rest_up():
    roll = rolling(limit=60)
    roll.step(farm(), now=0)
    roll.taken(None, now=0)
    assert roll.step(farm(web3=SILENT), now=30) == []
    [finish] = roll.step(farm(web3=SILENT), now=60)
    assert finish.text.startswith("web3 is not heard: silent for 7 s, 60 s after restart of web1")


def test_a_node_that_was_done_and_stopped_since_holds_the_rest_up():
    roll = rolling()
    roll.step(farm(), now=0)
    roll.taken(None, now=0)
    assert roll.step(farm(web1=STOPPED), now=60) == []


def test_nobody_to_ask_until_the_limit_ends_it():
    roll = rolling(limit=60)
    roll.step(farm(), now=0)
    roll.taken(None, now=0)
    [finish] = roll.step(None, now=60)
    assert finish.text.startswith("no daemon reports the state of the farm, 60 s after restart of web1")


def test_a_node_that_has_gone_from_the_farm_file_ends_it():
    roll = rolling(limit=60)
    roll.step(farm(), now=0)
    roll.taken(None, now=0)
    [finish] = roll.step(farm(names=("web2", "web3")), now=60)
    assert finish.text.startswith("web1 is no longer in the farm")


def test_a_refused_command_ends_it_with_the_nodes_reason():
    roll = rolling()
    roll.step(farm(), now=0)
    assert roll.taken("the daemon is shutting down", now=0) == [
        Finish(
            ok=False,
            text=f"web1: the daemon is shutting down (no node was done before that; not begun: web2, web3). {ADVICE}",
        )
    ]
    assert roll.over


def test_it_goes_no_further_when_too_few_are_left():
    roll = rolling(keep_ready=2)
    roll.step(farm(), now=0)
    roll.taken(None, now=0)
    steps = roll.step(farm(web3=STOPPED), now=SETTLE)
    assert isinstance(steps[-1], Finish)
    assert steps[-1].text.startswith("without web2, only web1 would be Ready, and [farm] keep_ready is 2")


# Always


STATES = st.sampled_from([READY, READY, READY, STOPPED, RESTARTING, CHECKING, DRAINED, SILENT])


@given(
    keep_ready=st.integers(0, 3),
    histories=st.lists(st.tuples(st.none() | st.tuples(STATES, STATES, STATES), st.floats(0, 30)), max_size=40),
)
def test_no_node_is_ever_taken_while_the_farm_could_not_do_without_it(keep_ready, histories):
    roll = rolling(keep_ready=keep_ready)
    now, taken, finished = 0.0, [], False
    for states, seconds in histories:
        now += seconds
        document = None if states is None else farm(**dict(zip(NAMES, states, strict=True)))
        steps = roll.step(document, now=now)
        for step in steps:
            if isinstance(step, TakeNode):
                ready = [name for name, state in zip(NAMES, states, strict=True) if state is READY]
                assert step.node in ready
                assert len(ready) - 1 >= keep_ready
                assert step.node not in taken
                assert all(state in (READY, STOPPED) for state in states)
                taken.append(step.node)
                roll.taken(None, now=now)
        finished = finished or any(isinstance(step, Finish) for step in steps)
        assert roll.over == finished
        assert sum(isinstance(step, TakeNode | Finish) for step in steps) <= 1
