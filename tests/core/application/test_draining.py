"""A drain hurts nobody and ends; so does a stop behind balancers that must drain the node first."""

from math import inf

from plain_application import NOBODY, STOP, module, ready, started, told

from hcsidecar.core.application.commands import drain, leave, resume
from hcsidecar.core.application.states import Word

# Draining


def test_a_drained_module_serves_on_and_wants_nothing_new():
    made = ready("HTTP")
    assert told(drain(made, now=5, by="root").events) == ["UP(Ready), draining: drain by root"]
    assert (made.state.draining, made.state.serving, made.state.wants_share, made.state.drained) == (
        True,
        False,
        False,
        False,
    )
    assert made.state.waits_for == ("a first look at connections and probers",)
    assert made.next_tick_at() == inf


def test_a_drain_tells_in_plain_words_what_it_waits_for():
    made = ready("HTTP")
    drain(made, now=0, by="root")
    made.evidence(connections={80: 12, 443: 1, 8080: 0}, probers=["prober 192.0.2.1 (1 of 3 NOT FOUND)"], now=1)
    assert made.state.waits_for == (
        "12 connections to port 80",
        "1 connection to port 443",
        "prober 192.0.2.1 (1 of 3 NOT FOUND)",
    )


def test_a_drain_that_has_found_nobody_left_says_so_once():
    made = ready("HTTP")
    drain(made, now=0, by="root")
    assert told(made.evidence(**NOBODY, now=3.21)) == ["UP(Ready), draining: nobody is left after 3.2 s"]
    assert made.state.drained
    assert made.evidence(connections={80: 1}, probers=(), now=4) == []
    assert not made.state.drained
    assert made.evidence(**NOBODY, now=5) == []
    assert made.state.drained


def test_a_check_that_fails_while_draining_is_told_and_shown():
    made = ready("HTTP")
    drain(made, now=0, by="root")
    events = made.check_result(name="HTTP", complaint="connection refused", now=0)
    assert told(events) == [
        "HTTP fails: connection refused",
        "UP(Transient), draining: check HTTP: connection refused",
    ]
    assert made.state.why_not_ready() == "drained by the operator; check HTTP: connection refused"


def test_who_resumes_with_a_failing_check_is_told_what_is_in_the_way():
    made = ready("HTTP")
    drain(made, now=0, by="root")
    made.check_result(name="HTTP", complaint="connection refused", now=0)
    assert told(resume(made, now=7, by="root").events) == [
        "UP(Transient): drain ended by root after 7.0 s; check HTTP: connection refused"
    ]
    assert not made.state.serving


def test_evidence_from_before_a_drain_does_not_end_it():
    made = ready("HTTP")
    drain(made, now=0, by="root")
    made.evidence(**NOBODY, now=1)
    resume(made, now=2, by="root")
    assert made.evidence(**NOBODY, now=3) == []
    drain(made, now=4, by="root")
    assert not made.state.drained


# Parting: behind a balancer that must drain it before it answers NOT FOUND


def test_a_module_that_is_parting_takes_traffic_until_its_balancers_have_nothing_more_to_send():
    made = ready("HTTP")
    outcome = leave(made, now=5, by="root", tells_first=True)
    assert told(outcome.events) == ["UP(Ready): leave by root; takes traffic until its balancers have drained it"]
    assert (made.state.parting, made.state.serving, made.state.draining, made.state.wants_share) == (
        True,
        True,
        False,
        True,
    )
    assert made.state.waits_for == ("a first look at its balancers",)
    assert made.state.remark == "leaves when its balancers have drained it, and takes traffic until then"
    assert made.see_balancers(["target web to be drained by its balancer"], now=100) == []
    assert (made.state.serving, made.state.waits_for) == (True, ("target web to be drained by its balancer",))
    assert told(made.see_balancers([], now=150)) == [
        "UP(Transient), draining: its balancers have nothing more to send, drains for 10 s at most"
    ]
    assert (made.state.serving, made.state.parting, made.state.last_word) == (False, False, Word.LEAVE)
    made.tick(now=160)
    assert made.state.name == STOP


def test_an_application_that_fails_while_parting_takes_no_more_traffic():
    made = ready("HTTP")
    leave(made, now=5, by="root", tells_first=True)
    events = made.check_result(name="HTTP", complaint="hung", now=9)
    assert "takes no more traffic, whether its balancers have drained it or not" in told(events)[-1]
    assert (made.state.serving, made.state.parting, made.next_tick_at()) == (False, False, 11)


def test_what_the_application_asks_for_while_parting_is_refused_with_the_reason():
    made = ready("HTTP")
    leave(made, now=5, by="root", tells_first=True)
    outcome = made.request("restart", "of its own", now=6)
    assert (outcome.accepted, made.state.parting) == (False, True)
    assert "leaves when its balancers have drained it" in outcome.text


def test_a_module_that_gets_no_traffic_need_not_part():
    made = started("HTTP")
    assert leave(made, now=5, by="root", tells_first=True).text == "the application stops"
    assert made.state.draining


def test_what_balancers_wait_for_is_nothing_to_a_module_that_is_not_parting():
    made = ready("HTTP")
    assert made.see_balancers([], now=1) == []
    assert made.state.serving


def test_who_has_left_stays_away_when_the_daemon_is_back():
    made = module(last_word=Word.LEAVE)
    assert told(made.begin(now=0)) == [
        "STOP(NotReady): not started, the operator's last word was leave; `hcsidecar start` starts it"
    ]
