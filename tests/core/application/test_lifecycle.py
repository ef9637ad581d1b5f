"""The application's life: traffic only when Ready, a stop that hurts nobody and ends, an answer to every command."""

import ast
import inspect
from functools import partial
from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hcsidecar.core.application import commands
from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.application.commands import drain, leave, restart, resume, shutdown, start, stop
from hcsidecar.core.application.lifecycle import MOVES, Lifecycle
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Phase, Role, Status, Word
from hcsidecar.core.events import Level

ORDERS = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "drain": drain,
    "resume": resume,
    "leave": leave,
    "part": partial(leave, tells_first=True),
}
NOBODY = {"connections": {80: 0}, "probers": ()}


def module(*checks, lame_duck=10.0, last_word=Word.START):
    return Lifecycle(
        checks=[CheckRule(name=name) for name in checks], lame_duck=lame_duck, past=Past(last_word=last_word)
    )


def started(*checks, now=0.0, **options):
    made = module(*checks, **options)
    made.begin(now=now)
    return made


def ready(*checks, **options):
    made = started(*checks, **options)
    for name in checks:
        made.check_result(name=name, complaint=None, now=0)
    return made


def told(events):
    return [event.message for event in events]


# Starting


def test_a_module_without_checks_is_ready_at_once():
    made = module()
    assert told(made.begin(now=0)) == ["UP(Ready): started with the daemon"]
    assert (made.state.role, made.state.status, made.state.serving, made.state.why_not_ready()) == (
        Role.UP,
        Status.READY,
        True,
        None,
    )


def test_nothing_happens_before_it_begins():
    made = module("HTTP")
    assert (made.state.name, made.state.serving, made.state.check_round) == ("STOP(NotReady)", False, None)
    assert made.state.why_not_ready() == "not started yet"
    assert made.next_tick_at() == inf


def test_traffic_waits_until_every_check_has_passed():
    made = module("HTTP", "DB")
    assert told(made.begin(now=0)) == [
        "UP(Transient): started with the daemon; check HTTP: not passed yet (and 1 more)"
    ]
    assert told(made.check_result(name="DB", complaint=None, now=0)) == ["DB passes"]
    assert not made.state.serving
    assert made.state.why_not_ready() == "check HTTP: not passed yet"
    assert told(made.check_result(name="HTTP", complaint=None, now=0)) == [
        "HTTP passes",
        "UP(Ready): every check passes",
    ]
    assert made.state.serving


def test_only_checks_that_are_made_and_have_said_something_have_a_result():
    made = Lifecycle(
        checks=[CheckRule(name="HTTP"), CheckRule(name="DB"), CheckRule(name="LAN", pre=True, action="wait")],
        lame_duck=10.0,
    )
    assert made.state.check_results == {}
    made.begin(now=0)
    made.check_result(name="LAN", complaint=None, now=0)
    made.check_result(name="HTTP", complaint="refused", now=0)
    assert made.state.check_results == {"LAN": True, "HTTP": False}
    stop(made, now=1, by="root")
    made.evidence(connections={80: 0}, probers=(), now=1)
    made.tick(now=20)
    assert (made.state.role, made.state.check_results) == (Role.STOP, {})


def test_a_check_that_has_nothing_to_say_yet_is_no_news():
    assert started("HTTP").check_result(name="HTTP", complaint=UNCHECKED, now=0) == []


def test_a_failing_check_ends_the_traffic_and_passing_brings_it_back():
    made = ready("HTTP", "DB")
    events = made.check_result(name="HTTP", complaint="connection refused", now=0)
    assert told(events) == ["HTTP fails: connection refused", "UP(Transient): check HTTP: connection refused"]
    assert [event.level for event in events] == [Level.WARNING, Level.WARNING]
    assert [event.origin for event in events] == ["check", "application"]
    assert not made.state.serving
    assert made.state.why_not_ready() == "check HTTP: connection refused"
    assert told(made.check_result(name="HTTP", complaint=None, now=0)) == [
        "HTTP passes",
        "UP(Ready): every check passes",
    ]
    assert made.state.serving


def test_a_machine_that_cannot_serve_ends_the_traffic_and_brings_it_back_whatever_the_checks_say():
    made = ready("HTTP")
    (event,) = made.see_machine("layer 2: eth0 is down", "ip link set eth0 up", now=1)
    assert (event.level, event.message) == (
        Level.ERROR,
        "UP(Transient): layer 2: eth0 is down; ip link set eth0 up",
    )
    assert (made.state.serving, made.state.wants_share, made.state.why_not_ready()) == (
        False,
        False,
        "layer 2: eth0 is down",
    )
    assert made.see_machine("layer 2: eth0 is down", "ip link set eth0 up", now=2) == []
    assert told(made.see_machine("layer 2: eth0 has no IPv6 address", now=3)) == [
        "UP(Transient): layer 2: eth0 has no IPv6 address"
    ]
    assert told(made.check_result(name="HTTP", complaint=None, now=4)) == []
    (event,) = made.see_machine(None, now=5)
    assert (event.level, event.message) == (Level.INFO, "UP(Ready): layer 2: eth0 has no IPv6 address: that is over")
    assert made.state.serving


def test_a_machine_that_can_serve_again_says_which_check_is_still_in_the_way():
    made = ready("HTTP")
    made.see_machine("layer 2: eth0 is down", now=1)
    made.check_result(name="HTTP", complaint="no answer", now=2)
    assert told(made.see_machine(None, now=3)) == [
        "UP(Transient): layer 2: eth0 is down: that is over; check HTTP: no answer"
    ]


def test_what_the_machine_lacks_is_known_before_the_application_starts_and_over_a_restart():
    made = module("HTTP")
    assert told(made.see_machine("layer 2: eth0 is down", now=0)) == ["STOP(NotReady): layer 2: eth0 is down"]
    made.begin(now=1)
    made.check_result(name="HTTP", complaint=None, now=1)
    assert (made.state.serving, made.state.why_not_ready()) == (False, "layer 2: eth0 is down")
    restart(made, now=2, by="test")
    made.evidence(**NOBODY, now=3)
    made.check_result(name="HTTP", complaint=None, now=4)
    assert made.state.why_not_ready() == "layer 2: eth0 is down"


def test_a_module_that_parts_from_a_machine_that_cannot_serve_takes_no_more_traffic():
    made = ready()
    leave(made, now=1, by="test", tells_first=True)
    assert made.state.parting
    made.see_machine("layer 2: eth0 is down", now=2)
    assert (made.state.parting, made.state.draining) == (False, True)


def test_a_failing_check_that_goes_on_failing_is_told_once_but_keeps_its_latest_reason():
    made = ready("HTTP")
    made.check_result(name="HTTP", complaint="connection refused", now=0)
    assert made.check_result(name="HTTP", complaint="no answer within 5 s", now=0) == []
    assert made.state.why_not_ready() == "check HTTP: no answer within 5 s"


def test_a_second_failing_check_is_told_without_a_second_transition():
    made = ready("HTTP", "DB")
    made.check_result(name="HTTP", complaint="connection refused", now=0)
    assert told(made.check_result(name="DB", complaint="hung", now=0)) == ["DB fails: hung"]
    assert made.state.why_not_ready() == "check HTTP: connection refused (and 1 more)"


# The operator's last word


@pytest.mark.parametrize(
    ("last_word", "state", "serving", "event"),
    [
        (Word.START, "UP(Ready)", True, "UP(Ready): started with the daemon"),
        (
            Word.STOP,
            "STOP(NotReady)",
            False,
            "STOP(NotReady): not started, the operator's last word was stop; `hcsidecar start` starts it",
        ),
        (
            Word.DRAIN,
            "UP(Ready)",
            False,
            (
                "UP(Ready), draining: started with the daemon, but drained as the operator left it; "
                "`hcsidecar resume` ends that"
            ),
        ),
    ],
)
def test_a_new_daemon_obeys_the_last_word(last_word, state, serving, event):
    made = module(last_word=last_word)
    assert told(made.begin(now=0)) == [event]
    assert (made.state.name, made.state.serving, made.state.last_word) == (state, serving, last_word)


def test_a_module_stopped_by_the_operator_says_so():
    assert started(last_word=Word.STOP).state.why_not_ready() == "stopped by the operator"


# Every command in every state


def in_state(phase):
    """Make a module that has come to a phase in the usual way."""
    made = ready("HTTP")
    match phase:
        case "stopped":
            stop(made, now=0, by="root")
            made.evidence(**NOBODY, now=1)
        case "left":
            leave(made, now=0, by="root")
            made.evidence(**NOBODY, now=1)
        case "parting":
            leave(made, now=0, by="root", tells_first=True)
        case "draining":
            drain(made, now=0, by="root")
        case "stopping":
            stop(made, now=0, by="root")
        case "restarting":
            restart(made, now=0, by="root")
        case "exiting":
            shutdown(made, now=0, by="SIGTERM")
        case "exiting after stop":
            stop(made, now=0, by="root")
            shutdown(made, now=0, by="SIGTERM")
        case "finished":
            shutdown(made, now=0, by="SIGTERM")
            made.evidence(**NOBODY, now=1)
    return made


STOP, TRANSIENT, READY = "STOP(NotReady)", "UP(Transient)", "UP(Ready)"
SHUTTING_DOWN = "the daemon is shutting down; `hcsidecar run` starts it again"
IS_STOPPED = "the application is stopped; `hcsidecar start` starts it"
IS_PARTING = "the application leaves, and serves until its balancers have drained it"
STAYS_STOPPED = "the daemon is shutting down; the application will stay stopped when it is back"
IS_STOPPING = "the application is stopping; `hcsidecar start` calls that off"

# state before, command -> accepted, sentence, state after, draining after, last word after
TABLE = [
    ("stopped", "start", True, "the application starts", TRANSIENT, False, "start"),
    ("stopped", "stop", True, "the application is stopped already", STOP, False, "stop"),
    ("stopped", "restart", True, "the application starts", TRANSIENT, False, "start"),
    ("stopped", "drain", False, IS_STOPPED, STOP, False, "stop"),
    ("stopped", "resume", False, IS_STOPPED, STOP, False, "stop"),
    ("serving", "start", True, "the application is started already: UP(Ready)", READY, False, "start"),
    ("serving", "stop", True, "the application stops", TRANSIENT, True, "stop"),
    ("serving", "restart", True, "the application restarts", TRANSIENT, True, "start"),
    ("serving", "drain", True, "the application drains, and serves on", READY, True, "drain"),
    ("serving", "resume", True, "the application is not draining: UP(Ready)", READY, False, "start"),
    ("draining", "start", True, "the drain is over", READY, False, "start"),
    ("draining", "stop", True, "the application stops", TRANSIENT, True, "stop"),
    ("draining", "restart", True, "the application restarts", TRANSIENT, True, "drain"),
    ("draining", "drain", True, "the application is draining already", READY, True, "drain"),
    ("draining", "resume", True, "the drain is over", READY, False, "start"),
    ("stopping", "start", True, "the stop is called off", READY, False, "start"),
    ("stopping", "stop", True, "the application stops at once", STOP, False, "stop"),
    ("stopping", "restart", True, "the application restarts", TRANSIENT, True, "start"),
    ("stopping", "drain", False, IS_STOPPING, TRANSIENT, True, "stop"),
    ("stopping", "resume", False, IS_STOPPING, TRANSIENT, True, "stop"),
    ("restarting", "start", True, "the application is restarting and will take traffic then", TRANSIENT, True, "start"),
    ("restarting", "stop", True, "the application stops", TRANSIENT, True, "stop"),
    ("restarting", "restart", True, "the application is restarting already", TRANSIENT, True, "start"),
    ("restarting", "drain", True, "the application is restarting and will drain then", TRANSIENT, True, "drain"),
    (
        "restarting",
        "resume",
        True,
        "the application is restarting and will take traffic then",
        TRANSIENT,
        True,
        "start",
    ),
    ("stopped", "leave", True, "the application is stopped already", STOP, False, "leave"),
    ("left", "start", True, "the application starts", TRANSIENT, False, "start"),
    ("left", "stop", True, "the application is stopped already", STOP, False, "leave"),
    ("left", "drain", False, IS_STOPPED, STOP, False, "leave"),
    ("serving", "leave", True, "the application stops", TRANSIENT, True, "leave"),
    ("serving", "part", True, IS_PARTING, READY, False, "leave"),
    ("draining", "part", True, "the application stops", TRANSIENT, True, "leave"),
    ("stopping", "leave", True, "the application stops at once", STOP, False, "leave"),
    ("restarting", "part", True, "the application stops", TRANSIENT, True, "leave"),
    ("exiting", "part", True, STAYS_STOPPED, TRANSIENT, True, "leave"),
    ("finished", "part", False, SHUTTING_DOWN, STOP, False, "start"),
    ("parting", "start", True, "the stop is called off", READY, False, "start"),
    ("parting", "stop", True, "the application stops, whatever its balancers do", TRANSIENT, True, "leave"),
    ("parting", "leave", True, "the application stops, whatever its balancers do", TRANSIENT, True, "leave"),
    ("parting", "part", True, "the application stops, whatever its balancers do", TRANSIENT, True, "leave"),
    ("parting", "restart", True, "the application restarts", TRANSIENT, True, "start"),
    ("parting", "drain", False, IS_STOPPING, READY, False, "leave"),
    ("parting", "resume", False, IS_STOPPING, READY, False, "leave"),
    ("exiting", "start", False, SHUTTING_DOWN, TRANSIENT, True, "start"),
    ("exiting", "stop", True, STAYS_STOPPED, TRANSIENT, True, "stop"),
    ("exiting", "restart", False, SHUTTING_DOWN, TRANSIENT, True, "start"),
    ("exiting", "drain", False, SHUTTING_DOWN, TRANSIENT, True, "start"),
    ("exiting", "resume", False, SHUTTING_DOWN, TRANSIENT, True, "start"),
    ("exiting after stop", "stop", True, "the application stops at once", STOP, False, "stop"),
    ("finished", "start", False, SHUTTING_DOWN, STOP, False, "start"),
    ("finished", "stop", False, SHUTTING_DOWN, STOP, False, "start"),
    ("finished", "restart", False, SHUTTING_DOWN, STOP, False, "start"),
    ("finished", "drain", False, SHUTTING_DOWN, STOP, False, "start"),
    ("finished", "resume", False, SHUTTING_DOWN, STOP, False, "start"),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[1]} while {row[0]}")
def test_every_command_has_its_outcome_in_every_state(row):
    before, command, accepted, text, state, draining, last_word = row
    made = in_state(before)
    outcome = ORDERS[command](made, now=2, by="root")
    assert (outcome.accepted, outcome.text) == (accepted, text)
    assert (made.state.name, made.state.draining, made.state.last_word) == (state, draining, last_word)
    assert all("by root" in message for message in told(outcome.events))


SHUTDOWN = [
    ("stopped", ["STOP(NotReady): shutdown by SIGTERM"], True),
    ("serving", ["UP(Transient), draining: shutdown by SIGTERM, drains for 10 s at most"], False),
    ("draining", ["UP(Transient), draining: shutdown by SIGTERM, drains for 10 s at most"], False),
    ("stopping", ["UP(Transient), draining: shutdown by SIGTERM, to follow the stop"], False),
    ("restarting", ["UP(Transient), draining: shutdown by SIGTERM, to follow the stop"], False),
    (
        "parting",
        [
            "UP(Transient), draining: shutdown by SIGTERM, no more waiting for balancers, drains for 10 s at most",
        ],
        False,
    ),
    ("exiting", ["STOP(NotReady): stopped after 2.0 s, shutdown again by SIGTERM, no more waiting"], True),
    ("finished", [], True),
]


@pytest.mark.parametrize(("before", "messages", "finished"), SHUTDOWN, ids=[row[0] for row in SHUTDOWN])
def test_a_shutdown_has_its_outcome_in_every_state(before, messages, finished):
    made = in_state(before)
    last_word = made.state.last_word
    assert told(shutdown(made, now=2, by="SIGTERM")) == messages
    assert (made.state.finished, made.state.last_word) == (finished, last_word)


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        ("serving", None),
        ("draining", "drained by the operator"),
        ("stopping", "stopping"),
        ("restarting", "restarting"),
        ("exiting", "shutting down"),
        ("stopped", "stopped by the operator"),
        ("left", "stopped by the operator"),
        ("parting", None),
        ("finished", "shut down"),
    ],
)
def test_every_state_says_why_it_gets_no_traffic(phase, reason):
    assert in_state(phase).state.why_not_ready() == reason


def test_commands_change_the_state_only_by_methods_of_the_lifecycle():
    source = ast.walk(ast.parse(inspect.getsource(commands)))
    assert not [
        ast.unparse(node) for node in source if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    ]


def test_no_state_is_left_but_as_the_table_allows():
    made = module()
    shutdown(made, now=0, by="SIGTERM")
    with pytest.raises(RuntimeError, match="cannot go from FINISHED to PREPARING"):
        made.begin(now=1)


def test_nothing_goes_from_traffic_to_stop_without_draining():
    assert not {Phase.STOPPED, Phase.FINISHED} & MOVES[Phase.SERVING]


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


# Whatever happens


class AnyLife(RuleBasedStateMachine):
    """Commands, checks, evidence and time in any order."""

    @initialize(
        checks=st.lists(st.sampled_from(["HTTP", "DB", "CACHE"]), unique=True),
        lame_duck=st.floats(0.5, 30),
        last_word=st.sampled_from(Word),
    )
    def begin(self, checks, lame_duck, last_word):
        self.now = 0.0
        self.checks = checks
        self.lame_duck = lame_duck
        self.stop_by = inf
        self.rounds = 0
        self.made = module(*checks, lame_duck=lame_duck, last_word=last_word)
        self.events_are_fit_to_print(self.made.begin(now=0))
        assert self.made.state.last_word is last_word

    def snapshot(self):
        made = self.made
        return (
            made.state.name,
            made.state.draining,
            made.state.last_word,
            made.state.waits_for,
            made.next_tick_at(),
            made.state.check_round,
        )

    def events_are_fit_to_print(self, events):
        for event in events:
            assert event.origin in ("application", "check")
            assert event.message.isprintable()
            if event.origin == "application":
                assert event.message.startswith(("STOP(NotReady): ", "UP(Transient)", "UP(Ready)"))

    @rule(command=st.sampled_from(sorted(ORDERS)), who=st.sampled_from(["root", "eve"]))
    def command(self, command, who):
        before = self.snapshot()
        outcome = ORDERS[command](self.made, now=self.now, by=who)
        assert outcome.text
        self.events_are_fit_to_print(outcome.events)
        if not outcome.accepted:
            assert self.snapshot() == before
            assert not outcome.events
        elif outcome.events:
            assert f"by {who}" in outcome.events[0].message
        if outcome.accepted and command in ("start", "resume"):
            assert self.made.state.last_word is Word.START
        if outcome.accepted and command == "drain":
            assert self.made.state.last_word == command
        if outcome.accepted and command in ("stop", "leave", "part"):
            assert self.made.state.last_word in (Word.LEAVE, command)
        if command in ("stop", "leave") or (command == "part" and not self.made.state.parting):
            self.stop_by = min(self.stop_by, self.now + self.lame_duck)

    @rule()
    def shutdown(self):
        word = self.made.state.last_word
        self.events_are_fit_to_print(shutdown(self.made, now=self.now, by="SIGTERM"))
        assert self.made.state.last_word is word
        self.stop_by = min(self.stop_by, self.now + self.lame_duck)

    @precondition(lambda self: self.checks)
    @rule(data=st.data(), complaint=st.sampled_from([None, "connection refused", "hung"]))
    def check(self, data, complaint):
        name = data.draw(st.sampled_from(self.checks))
        self.events_are_fit_to_print(self.made.check_result(name=name, complaint=complaint, now=0))

    @rule(
        connections=st.none() | st.dictionaries(st.sampled_from([80, 443]), st.integers(0, 3)),
        probers=st.lists(st.sampled_from(["prober 192.0.2.1 (1 of 3 NOT FOUND)"]), max_size=1),
    )
    def evidence(self, connections, probers):
        draining = self.made.state.draining
        events = self.made.evidence(connections=connections, probers=probers, now=self.now)
        self.events_are_fit_to_print(events)
        if events:
            assert draining
            assert connections is not None
            assert not any(connections.values())
            assert not probers

    @rule(waits_for=st.lists(st.just("target web to be drained by its balancer"), max_size=1))
    def balancers(self, waits_for):
        parting = self.made.state.parting
        events = self.made.see_balancers(waits_for, now=self.now)
        self.events_are_fit_to_print(events)
        assert bool(events) == (parting and not waits_for)
        if events:
            self.stop_by = min(self.stop_by, self.now + self.lame_duck)

    @rule(seconds=st.floats(0, 40))
    def time_passes(self, seconds):
        end = self.now + seconds
        while (due := self.made.next_tick_at()) <= end:
            self.now = max(self.now, due)
            self.events_are_fit_to_print(self.made.tick(now=self.now))
        self.now = end

    @invariant()
    def traffic_comes_only_to_a_module_that_is_ready_and_not_draining(self):
        made = self.made
        assert made.state.serving == (made.state.name == "UP(Ready)" and not made.state.draining)
        assert made.state.wants_share == made.state.serving
        assert (made.state.why_not_ready() is None) == made.state.serving

    @invariant()
    def a_stop_ends_by_itself_within_lame_duck_unless_called_off(self):
        if self.made.next_tick_at() == inf:
            self.stop_by = inf
        else:
            assert self.now <= self.made.next_tick_at() <= self.stop_by

    @invariant()
    def only_a_stop_has_a_limit(self):
        assert (self.made.next_tick_at() < inf) == (
            self.made.state.draining
            and self.made.state.status is Status.TRANSIENT
            and "drained" not in self.made.state.why_not_ready()
        )

    @invariant()
    def only_a_draining_or_parting_module_waits(self):
        assert self.made.state.draining or not self.made.state.drained
        assert self.made.state.draining or self.made.state.parting or not self.made.state.waits_for
        assert not self.made.state.draining or self.made.state.drained == (not self.made.state.waits_for)

    @invariant()
    def a_finished_module_stays_finished(self):
        assert not self.made.state.finished or self.made.state.name == STOP

    @invariant()
    def checks_run_exactly_while_the_module_is_up(self):
        assert (self.made.state.check_round is None) == (self.made.state.role is Role.STOP)
        self.rounds, before = self.made.state.check_round or self.rounds, self.rounds
        assert self.rounds in (before, before + 1)


AnyLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_promises_hold_whatever_happens = AnyLife.TestCase
