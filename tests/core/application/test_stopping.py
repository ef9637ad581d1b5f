"""A stop, a restart and a shutdown: they hurt nobody, and they end."""

from math import inf

from plain_application import NOBODY, STOP, ready, told

from hcsidecar.core.application.commands import drain, restart, shutdown, start, stop
from hcsidecar.core.application.states import Role, Word
from hcsidecar.core.events import Level

# Stopping


def test_a_stop_ends_when_nobody_is_left():
    made = ready("HTTP")
    assert told(stop(made, now=0, by="root").events) == [
        "UP(Transient), draining: stop by root, drains for 10 s at most"
    ]
    assert (made.state.serving, made.state.role) == (False, Role.UP)
    assert made.evidence(connections={80: 3}, probers=(), now=1) == []
    assert made.evidence(connections={80: 0}, probers=["prober 192.0.2.1 (2 of 3 NOT FOUND)"], now=2) == []
    assert told(made.evidence(**NOBODY, now=2.5)) == ["STOP(NotReady): stopped after 2.5 s, nobody is left"]
    assert made.state.check_round is None


def test_a_stop_ends_at_the_limit_and_says_who_was_left():
    made = ready("HTTP")
    stop(made, now=0, by="root")
    made.evidence(connections={80: 3}, probers=(), now=9)
    assert made.next_tick_at() == 10
    assert made.tick(now=9.9) == []
    [event] = made.tick(now=10)
    assert event.message == "STOP(NotReady): stopped after 10.0 s, 10 s are over, still there: 3 connections to port 80"
    assert event.level is Level.WARNING


def test_unknown_evidence_never_ends_a_stop_before_the_limit():
    made = ready("HTTP")
    stop(made, now=0, by="root")
    assert made.evidence(connections=None, probers=(), now=1) == []
    assert made.state.waits_for == ("connections, which cannot be counted here",)
    assert made.tick(now=9.9) == []
    assert told(made.tick(now=10)) == [
        "STOP(NotReady): stopped after 10.0 s, 10 s are over, still there: connections, which cannot be counted here"
    ]


def test_a_stop_without_lame_duck_is_done_at_once():
    made = ready("HTTP", lame_duck=0)
    stop(made, now=0, by="root")
    assert made.state.name == STOP


def test_a_drain_from_long_ago_leaves_a_stop_its_full_time():
    made = ready("HTTP")
    drain(made, now=0, by="root")
    made.evidence(connections={80: 2}, probers=(), now=1)
    stop(made, now=3600, by="root")
    assert made.state.waits_for == ("2 connections to port 80",)
    assert made.next_tick_at() == 3610


def test_a_stop_called_off_brings_traffic_back_without_a_new_round_of_checks():
    made = ready("HTTP")
    before = made.state.check_round
    stop(made, now=0, by="root")
    start(made, now=1, by="root")
    assert (made.state.serving, made.state.check_round, made.next_tick_at()) == (True, before, inf)


def test_a_start_after_a_stop_checks_everything_anew():
    made = ready("HTTP")
    before = made.state.check_round
    stop(made, now=0, by="root")
    made.evidence(**NOBODY, now=1)
    assert made.check_result(name="HTTP", complaint="too late", now=0) == []
    start(made, now=2, by="root")
    assert made.state.check_round == before + 1
    assert made.state.why_not_ready() == "check HTTP: not passed yet"


# Restarting


def test_a_restart_drains_stops_and_starts():
    made = ready("HTTP")
    restart(made, now=0, by="root")
    assert told(made.evidence(**NOBODY, now=1)) == [
        "UP(Transient): stopped after 1.0 s, nobody is left; starts again; check HTTP: not passed yet",
    ]
    made.check_result(name="HTTP", complaint=None, now=0)
    assert made.state.serving


def test_a_drained_module_comes_back_from_a_restart_drained():
    made = ready("HTTP")
    drain(made, now=0, by="root")
    restart(made, now=1, by="root")
    made.tick(now=11)
    assert (made.state.draining, made.state.last_word, made.state.drained) == (True, Word.DRAIN, False)


def test_a_drain_during_a_restart_holds_after_it_and_is_told_once():
    made = ready("HTTP")
    restart(made, now=0, by="root")
    assert told(drain(made, now=1, by="root").events) == [
        "UP(Transient), draining: drain by root, to follow the restart"
    ]
    assert drain(made, now=1, by="root").events == ()
    made.tick(now=10)
    assert made.state.why_not_ready() == "drained by the operator; check HTTP: not passed yet"


# Shutting down


def test_a_shutdown_drains_then_finishes_and_leaves_the_last_word_alone():
    made = ready("HTTP")
    shutdown(made, now=0, by="SIGTERM")
    assert (made.state.serving, made.state.finished, made.state.why_not_ready()) == (False, False, "shutting down")
    made.evidence(**NOBODY, now=4)
    assert (made.state.finished, made.state.last_word, made.state.name) == (True, Word.START, STOP)


def test_a_shutdown_does_not_outlast_its_limit():
    made = ready("HTTP")
    shutdown(made, now=0, by="SIGTERM")
    made.tick(now=made.next_tick_at())
    assert made.state.finished
    assert made.next_tick_at() == inf


def test_a_shutdown_during_a_stop_does_not_begin_its_time_anew():
    made = ready("HTTP")
    stop(made, now=0, by="root")
    shutdown(made, now=6, by="SIGTERM")
    assert made.next_tick_at() == 10
