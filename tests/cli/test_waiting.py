"""When the waiting of `stop`, `leave` and `rolling run` is over, and how it ended."""

import asyncio

import pytest

from hcsidecar.api.client import LocalNode, NodeClient
from hcsidecar.cli.waiting import drained, gone, stopped, wait
from hcsidecar.core.documents import NodeStatus

UP = NodeStatus(name="web1", alive=True, role="UP", status="Ready")
STOP = NodeStatus(name="web1", alive=True, role="STOP", status="NotReady")
DRAINING = NodeStatus(
    name="web1", alive=True, role="UP", status="Transient", draining=True, waits_for=("2 connections",)
)
ALONE = NodeStatus(name="web1", alive=True, role="UP", status="Ready", draining=True)
PARTING = NodeStatus(
    name="web1", alive=True, role="UP", status="Ready", parting=True, waits_for=("target web to be drained",)
)
TO_DEREGISTER = NodeStatus(
    name="web1", alive=True, role="STOP", status="NotReady", waits_for=("target web to be deregistered",)
)

IN_VIEW = True
"Where it does not matter."


def said(verdict):
    return None if verdict is None else (verdict.ok, verdict.text)


@pytest.mark.parametrize(
    ("row", "waited", "verdict"),
    [
        (UP, 0.9, None),
        (UP, 1.0, (False, "does not stop: somebody has cancelled that")),
        (DRAINING, 3600, None),
        (STOP, 0.0, (True, "stopped after 0.0 s")),
        (STOP, 3.14, (True, "stopped after 3.1 s")),
    ],
)
def test_stop_waits_for_the_module_as_long_as_it_drains(row, waited, verdict):
    assert said(stopped(row, IN_VIEW, waited)) == verdict


@pytest.mark.parametrize(
    ("row", "in_view", "waited", "verdict"),
    [
        (DRAINING, True, 3600, None),
        (ALONE, True, 19.9, None),
        (ALONE, True, 20, (False, "has not left within 20 s, it waits for its application to stop")),
        (UP, True, 0.9, None),
        (UP, True, 1, (False, "does not leave: somebody has cancelled that")),
        (PARTING, True, 3000, None),
        (TO_DEREGISTER, False, 19, None),
        (TO_DEREGISTER, False, 20, (False, "has not left within 20 s, it waits for target web to be deregistered")),
        (STOP, True, 1, None),
        (STOP, False, 3, (True, "has left after 3.0 s")),
        (STOP, False, 21, (True, "has left after 21.0 s")),
    ],
)
def test_leave_waits_until_the_node_is_out_but_not_over_its_budget(row, in_view, waited, verdict):
    assert said(gone()(row, in_view, waited)) == verdict


def test_the_budget_of_leave_begins_when_the_drains_are_over():
    judge = gone()
    assert judge(PARTING, IN_VIEW, 130) is None
    assert judge(DRAINING, IN_VIEW, 200) is None
    assert judge(TO_DEREGISTER, IN_VIEW, 219.9) is None
    late = "has not left within 20 s after its drain, it waits for target web to be deregistered"
    assert said(judge(TO_DEREGISTER, IN_VIEW, 220)) == (False, late)


@pytest.mark.parametrize(
    ("row", "waited", "verdict"),
    [
        (UP, 0.5, None),
        (UP, 1.0, (False, "does not drain: somebody has cancelled that")),
        (DRAINING, 9.9, None),
        (DRAINING, 10, (True, "drained for 10 s, still there: 2 connections")),
        (ALONE, 2, (True, "drained after 2.0 s")),
        (STOP, 2, (False, "has been stopped by somebody")),
    ],
)
def test_a_drain_ends_on_evidence_or_at_its_limit(row, waited, verdict):
    assert said(drained(10)(row, IN_VIEW, waited)) == verdict


def test_a_node_that_nobody_reaches_any_more_is_not_waited_for_without_end(tmp_path):
    client = NodeClient("web2", LocalNode(name="web1", socket=tmp_path / "nobody.sock"))
    verdict = asyncio.run(wait(client, stopped, [].append, patience=0.1))
    assert not verdict.ok
    assert verdict.text.startswith("cannot be asked any more: no daemon of node web1 is running here")


def test_a_node_whose_daemon_has_ended_has_stopped(tmp_path):
    client = NodeClient("web1", LocalNode(name="web1", socket=tmp_path / "nobody.sock"))
    assert said(asyncio.run(wait(client, stopped, [].append))) == (True, "stopped after 0.0 s")
    assert said(asyncio.run(wait(client, gone(), [].append))) == (True, "has left after 0.0 s")
    assert said(asyncio.run(wait(client, drained(10), [].append))) == (False, "has been stopped by somebody")
