"""In which state each node has been, as the events tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.application.state import Role, Status
from hcsidecar.core.console.state_timeline import MOST_INTERVALS, timeline
from hcsidecar.core.documents import Entry
from hcsidecar.core.events import Level


def event(time, message, *, node="web1", origin="application", number=1):
    return Entry(number=number, time=time, node=node, level=Level.INFO, origin=origin, message=message)


def heard(time, message, *, node="web2"):
    return event(time, message, node=node, origin="membership")


def daemon(time, message):
    return event(time, message, origin="daemon")


def words(events, *, since=0.0, node="web1"):
    intervals = timeline(events, nodes=("web1", "web2"), since=since)[node]
    return [(each.state.word, each.begin, each.end) for each in intervals]


START = daemon(1, "hcsidecar 1.0 of farm apache starts")
READY = event(3, "UP(Ready): every check passes")


def test_a_node_starts_serves_drains_and_ends():
    events = [
        START,
        event(2, "UP(Transient): start script"),
        READY,
        event(10, "UP(Ready), draining: stop by root"),
        event(15, "UP(Transient), draining: nobody is left after 5 s"),
        event(16, "STOP(NotReady): stopped"),
        daemon(17, "ended"),
    ]
    assert words(events) == [
        ("changing", 1, 3),
        ("Ready", 3, 10),
        ("draining", 10, 15),
        ("changing", 15, 16),
        ("stopped", 16, 17),
        ("does not answer", 17, None),
    ]
    assert timeline(events, nodes=["web1"])["web1"][1].reason == "UP(Ready): every check passes"


def test_a_node_that_waits_or_fails_is_told_apart():
    events = [event(1, "WAIT(NotReady): check DISK: full"), event(2, "UP(NotReady): odd")]
    assert words(events) == [("waiting", 1, 2), ("not Ready", 2, None)]


def test_a_dead_node_is_not_heard_until_it_starts_again():
    events = [READY, heard(5, "web1 is dead: silent for 0.5 s"), daemon(9, START.message)]
    assert words(events) == [("Ready", 3, 5), ("not heard", 5, 9), ("changing", 9, None)]


def test_a_node_that_was_only_cut_off_goes_on_as_it_was():
    events = [READY, heard(5, "web1 is dead: silent for 0.5 s"), heard(7, "web1 is heard")]
    assert words(events) == [("Ready", 3, 5), ("not heard", 5, 7), ("Ready", 7, None)]


def test_two_nodes_that_tell_of_one_death_make_one_interval():
    dead = "web1 is dead: silent for 0.5 s"
    events = [READY, heard(5, dead), heard(5.01, dead, node="web3")]
    assert words(events) == [("Ready", 3, 5), ("not heard", 5, None)]


def test_a_node_that_ended_in_order_is_not_called_dead():
    events = [READY, daemon(4, "ended"), heard(5, "web1 is dead: silent for 0.5 s")]
    assert words(events) == [("Ready", 3, 4), ("does not answer", 4, None)]


def test_of_a_node_without_an_event_of_its_own_only_its_death_is_known():
    assert words([heard(5, "web1 is heard")]) == []
    events = [heard(5, "web1 is dead: silent for 0.5 s"), heard(7, "web1 is heard")]
    assert words(events) == [("not heard", 5, 7)]
    assert words([*events, event(9, "UP(Ready): resumed")]) == [("not heard", 5, 7), ("Ready", 9, None)]
    again = heard(9, "web1 is dead: silent for 0.5 s")
    assert words([*events, again]) == [("not heard", 5, 7), ("not heard", 9, None)]


def test_what_had_ended_before_is_left_out():
    events = [START, READY, event(10, "STOP(NotReady): stopped")]
    assert words(events, since=3) == [("Ready", 3, 10), ("stopped", 10, None)]
    assert words(events, since=5) == [("Ready", 3, 10), ("stopped", 10, None)]


@pytest.mark.parametrize(
    "other",
    [
        event(5, "STOP(NotReady): by an operator's remark", origin="operator"),
        event(5, "no state: only words"),
        daemon(5, "loaded the keys of the key file"),
        heard(5, "pulse 0.05 s, lost_after 0.5 s"),
        heard(5, "web1 is heard by nobody: a text that only begins so"),
        heard(5, "web9 is dead: silent for 0.5 s"),
        event(5, "STOP(NotReady): of a node that nobody asked for", node="web9"),
    ],
)
def test_other_events_change_nothing(other):
    assert words([READY, other]) == [("Ready", 3, None)]


def test_events_of_earlier_builds_count():
    assert words([event(3, "UP(Ready): started", origin="module")]) == [("Ready", 3, None)]


@given(st.permutations([START, READY, event(10, "STOP(NotReady): stopped"), heard(12, "web1 is dead: silent for 1 s")]))
def test_the_order_in_which_pages_bring_events_does_not_matter(events):
    assert words(events) == [("changing", 1, 3), ("Ready", 3, 10), ("stopped", 10, 12), ("not heard", 12, None)]


def test_the_oldest_intervals_are_left_out_when_there_are_too_many():
    states = ("UP(Ready): a", "STOP(NotReady): b")
    found = words([event(time, states[time % 2], number=time) for time in range(2 * MOST_INTERVALS)])
    assert len(found) == MOST_INTERVALS
    assert found[-1] == ("stopped", 2 * MOST_INTERVALS - 1, None)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("role", list(Role))
def test_every_role_and_status_of_an_application_is_read(role, status):
    assert len(words([event(1, f"{role}({status}): why")])) == 1
