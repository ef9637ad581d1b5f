"""An application with scripts: what runs when, what a failure costs, what the next daemon finds."""

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.application.commands import drain, reset_budget, restart, resume, shutdown, start, stop
from hcsidecar.core.application.last_stays import Outlook
from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.scripts import ScriptPlan
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Aim, Left, Phase, Role, Status, Word
from hcsidecar.core.events import Level
from hcsidecar.core.farmfile.application_table import ApplicationTable

HTTP = CheckRule(name="HTTP", action="restart")
ROUTER = CheckRule(name="ROUTER", pre=True, action="wait")
NOBODY = {"connections": {80: 0}, "probers": ()}
OTHERS_SERVE = Outlook(others_serve=True, is_last=False)


def module(*checks, past=None, lame_duck=10.0, last_stays=False, **table):
    plan = ScriptPlan(table=ApplicationTable(start="bin/start", stop="bin/stop", **table))
    made = Lifecycle(checks=checks or [HTTP], lame_duck=lame_duck, plan=plan, past=past, last_stays=last_stays)
    made.see_farm(OTHERS_SERVE, now=0)
    return made


def told(events):
    return [event.message for event in events]


def ends(made, failure=None, lines=(), *, now):
    """End the script that runs."""
    return made.script_ended(made.state.script.number, failure, lines, now=now)


def runs(made):
    """Give what runs now: name and arguments."""
    return (made.state.script.script.value, *made.state.script.arguments) if made.state.script else None


def serving(*checks, now=0.0, **options):
    made = module(*checks, **options)
    made.begin(now=now)
    if made.state.script and made.state.script.script == "prestart":
        ends(made, now=now)
    for check in checks:
        if check.pre:
            made.check_result(name=check.name, complaint=None, now=now)
    ends(made, now=now)
    for check in checks or [HTTP]:
        made.check_result(name=check.name, complaint=None, now=now)
    assert made.state.serving
    return made


def stopped(made, *, now):
    """Let the stop scripts end well, and nobody be left before them."""
    made.evidence(**NOBODY, now=now)
    assert runs(made)[0] == "stop"
    return ends(made, now=now)


# Order


def test_traffic_comes_after_the_start_script_and_all_checks():
    made = module()
    assert told(made.begin(now=0)) == ["UP(Transient): started with the daemon; the start script runs"]
    assert runs(made) == ("start", "WAIT", "UP", "start")
    assert (made.state.check_round, made.state.serving, made.state.why_not_ready()) == (
        None,
        False,
        "the start script runs",
    )
    assert told(ends(made, now=1.25)) == ["UP(Transient): started, which took 1.2 s; check HTTP: not passed yet"]
    assert (made.state.check_round, made.state.serving) == (1, False)
    assert told(made.check_result(name="HTTP", complaint=None, now=2)) == [
        "HTTP passes",
        "UP(Ready): every check passes",
    ]
    assert made.state.serving


def test_the_stop_script_runs_after_the_drain_and_stop_is_over_after_it():
    made = serving()
    assert told(stop(made, now=5, by="root").events) == [
        "UP(Transient), draining: stop by root, drains for 10 s at most"
    ]
    assert runs(made) is None
    assert told(made.evidence(**NOBODY, now=7)) == ["UP(Transient): nobody is left; the stop script runs"]
    assert runs(made) == ("stop", "UP", "WAIT", "stop")
    assert (made.state.check_round, made.state.draining, made.state.waits_for) == (None, False, ("the stop script",))
    assert told(ends(made, now=9)) == ["STOP(NotReady): stopped after 4.0 s, the stop script took 2.0 s"]
    assert (made.state.left, made.state.role) == (Left.STOPPED, Role.STOP)


def test_prestart_and_poststop_stand_around_it_all():
    made = module(HTTP, ROUTER, prestart="bin/prestart", poststop="bin/poststop")
    made.begin(now=0)
    assert runs(made) == ("prestart", "STOP", "WAIT", "start")
    assert (made.state.name, made.state.need_round) == ("WAIT(Transient)", None)
    assert told(ends(made, now=1)) == ["WAIT(Transient): prestart took 1.0 s; check ROUTER: not passed yet"]
    assert (runs(made), made.state.need_round) == (None, 1)
    made.check_result(name="ROUTER", complaint=None, now=2)
    assert runs(made) == ("start", "WAIT", "UP", "start")
    ends(made, now=3)
    made.check_result(name="HTTP", complaint=None, now=3)
    stop(made, now=4, by="root")
    stopped(made, now=5)
    assert (runs(made), made.state.name, made.state.need_round) == (
        ("poststop", "WAIT", "STOP", "stop"),
        "WAIT(Transient)",
        1,
    )
    ends(made, "exit status 1", now=6)
    assert (made.state.name, made.state.need_round) == ("STOP(NotReady)", None)


def test_a_restart_keeps_its_role_and_runs_no_prestart():
    made = serving(HTTP, ROUTER, prestart="bin/prestart", poststop="bin/poststop")
    restart(made, now=1, by="root")
    made.evidence(**NOBODY, now=2)
    assert runs(made) == ("stop", "UP", "UP", "restart")
    assert told(ends(made, now=3)) == [
        "UP(Transient): stopped after 2.0 s, the stop script took 1.0 s; starts again; the start script runs"
    ]
    assert (runs(made), made.state.need_round) == (("start", "UP", "UP", "restart"), 1)
    ends(made, now=4)
    assert made.state.check_round == 2


def test_a_stopstart_goes_all_the_way():
    made = serving(prestart="bin/prestart", poststop="bin/poststop")
    restart(made, now=1, by="root", aim=Aim.STOPSTART)
    made.evidence(**NOBODY, now=2)
    seen = []
    while made.state.script:
        seen.append(runs(made))
        ends(made, now=3)
    assert seen == [
        ("stop", "UP", "WAIT", "stopstart"),
        ("poststop", "WAIT", "STOP", "stopstart"),
        ("prestart", "STOP", "WAIT", "start"),
        ("start", "WAIT", "UP", "start"),
    ]


def test_a_safekit_module_is_always_stopped_with_force_too_and_says_itself_when_its_start_failed():
    made = module(safekit=True)
    made.begin(now=0)
    ends(made, "exit status 1", now=1)
    assert made.state.phase is Phase.SERVING
    made.check_result(name="HTTP", complaint=None, now=1)
    restart(made, now=2, by="root")
    made.evidence(**NOBODY, now=2)
    ends(made, now=3)
    assert runs(made) == ("stop force", "force", "UP", "UP", "restart")
    ends(made, now=4)
    assert runs(made) == ("start", "UP", "UP", "restart")


# Stop, harder and harder


def test_a_stop_that_fails_is_repeated_with_force_and_then_the_processes_are_killed():
    made = serving()
    stop(made, now=0, by="root")
    made.evidence(**NOBODY, now=0)
    [event] = ends(made, "exit status 1", ["apachectl: no such file"], now=1)
    assert event.message == "the stop script exit status 1, its last words: apachectl: no such file"
    assert (event.level, event.origin) == (Level.WARNING, "application")
    assert runs(made) == ("stop force", "force", "UP", "WAIT", "stop")
    ends(made, "exit status 1", now=2)
    assert runs(made)[0] == "kill"
    assert told(ends(made, now=3)) == ["STOP(NotReady): stopped after 3.0 s, none of its processes is left"]


def test_a_stop_that_hangs_is_repeated_with_force_and_then_the_processes_are_killed():
    made = serving(stop_timeout=100, force_timeout=50)
    stop(made, now=0, by="root")
    made.evidence(**NOBODY, now=0)
    assert made.next_tick_at() == 100
    assert told(made.tick(now=100)) == ["the stop script did not end within 100s"]
    assert (runs(made)[0], made.next_tick_at()) == ("stop force", 150)
    made.tick(now=150)
    assert (runs(made)[0], made.state.name) == ("kill", "UP(Transient)")


def test_what_cannot_be_killed_is_not_started_a_second_time():
    made = serving()
    made.check_result(name="HTTP", complaint="hung", now=0)
    made.evidence(**NOBODY, now=0)
    for _ in range(3):
        ends(made, "2 processes do not end", now=1)
    assert (made.state.name, made.state.left) == ("STOP(NotReady)", Left.UNCLEAR)
    assert made.state.why_not_ready() == "stopped by itself: its processes could not be ended: 2 processes do not end"


def test_a_start_over_what_could_not_be_killed_tries_to_end_it_first():
    made = serving()
    restart(made, now=0, by="root")
    made.evidence(**NOBODY, now=1)
    for now in (2, 3, 4):
        ends(made, now=now, failure="exit status 1")
    assert made.state.phase is Phase.STOPPED
    said = start(made, now=5, by="root")
    assert told(said.events) == [
        "UP(Transient): start by root; some of the application may still run; the stop script runs"
    ]
    ends(made, now=6)
    ends(made, now=7)
    assert runs(made)[0] == "kill"
    ends(made, now=8)
    assert runs(made)[0] == "start"


def test_a_start_ordered_while_poststop_runs_over_what_could_not_be_killed_tries_to_end_it_first():
    made = serving(poststop="bin/poststop")
    stop(made, now=0, by="root")
    made.evidence(**NOBODY, now=1)
    for now in (2, 3, 4):
        ends(made, now=now, failure="exit status 1")
    assert runs(made)[0] == "poststop"
    assert start(made, now=5, by="root").text == "the application will start as soon as it has stopped"
    ends(made, now=6)
    assert runs(made) == ("stop", "UP", "WAIT", "stopstart")


def test_a_second_stop_ends_the_drain_a_third_the_stop_script_and_a_fourth_kills():
    made = serving()
    stop(made, now=0, by="root")
    stop(made, now=1, by="root")
    assert runs(made)[0] == "stop"
    stop(made, now=2, by="root")
    assert runs(made)[0] == "stop force"
    stop(made, now=3, by="root")
    assert runs(made)[0] == "kill"
    assert stop(made, now=4, by="root").accepted
    assert runs(made)[0] == "kill"


def test_a_late_word_from_a_run_that_was_given_up_changes_nothing():
    made = serving(stop_timeout=100)
    stop(made, now=0, by="root")
    made.evidence(**NOBODY, now=0)
    late = made.state.script.number
    made.tick(now=100)
    assert made.script_ended(late, None, now=101) == []
    assert runs(made)[0] == "stop force"


# Failures


def test_a_failing_check_restarts_the_application_and_costs_budget():
    made = serving()
    events = made.check_result(name="HTTP", complaint="refused", now=5)
    assert told(events) == [
        "HTTP fails: refused",
        "UP(Transient): check HTTP: refused",
        "UP(Transient), draining: restart after a failure: check HTTP: refused, drains for 2 s at most",
    ]
    assert made.state.why_not_ready() == "restarting: check HTTP: refused"
    assert made.state.budget.used(now=5) == 1
    # Its requests fail anyway: no prober is waited for.
    made.evidence(connections={80: 0}, probers=["prober 192.0.2.1 (0 of 3 NOT FOUND)"], now=5.1)
    assert runs(made) == ("stop", "UP", "UP", "restart")


@pytest.mark.parametrize(
    ("action", "aim", "phase"),
    [
        ("restart", Aim.RESTART, Phase.LEAVING),
        ("stopstart", Aim.STOPSTART, Phase.LEAVING),
        ("stop", Aim.STOP, Phase.LEAVING),
        ("none", None, Phase.SERVING),
    ],
)
def test_each_action_has_its_aim(action, aim, phase):
    made = serving(CheckRule(name="HTTP", action=action))
    made.check_result(name="HTTP", complaint="refused", now=5)
    assert (made.state.aim, made.state.phase, made.state.serving) == (aim, phase, False)


def test_a_check_with_action_stop_stops_the_module_for_good_and_says_why():
    made = serving(CheckRule(name="DISK", action="stop"))
    made.check_result(name="DISK", complaint="full", now=5)
    stopped(made, now=6)
    assert (made.state.name, made.state.why_not_ready()) == ("STOP(NotReady)", "stopped by itself: check DISK: full")
    assert made.state.last_word is Word.START
    assert start(made, now=7, by="root").accepted
    assert made.state.gave_up == ""


def fail_once(made, *, now):
    """Let the check fail, the application be restarted, and the check pass."""
    made.check_result(name="HTTP", complaint=f"failure at {now}", now=now)
    stopped(made, now=now)
    made.tick(now=now + 40)
    ends(made, now=now + 40)
    made.check_result(name="HTTP", complaint=None, now=now + 40)
    assert made.state.serving


def test_the_failure_that_is_one_too_many_stops_the_module_and_tells_the_whole_story():
    made = serving(max_restarts=2)
    for now in (100, 200):
        fail_once(made, now=now)
    events = made.check_result(name="HTTP", complaint="failure at 300", now=300)
    story = (
        "failure 3 within 1d, more than max_restarts allows: 3 min ago: check HTTP: failure at 100; "
        "100 s ago: check HTTP: failure at 200; now: check HTTP: failure at 300"
    )
    assert told(events)[-1].startswith(f"UP(Transient), draining: stop after a failure: {story}")
    assert events[-1].level is Level.ERROR
    stopped(made, now=301)
    assert (made.state.name, made.state.why_not_ready()) == ("STOP(NotReady)", f"stopped by itself: {story}")


def test_failures_that_are_long_ago_count_no_more():
    made = serving(max_restarts=1, restart_window=500)
    fail_once(made, now=100)
    fail_once(made, now=700)
    assert made.state.budget.used(now=700) == 1


def test_an_order_of_the_operators_forgives_the_failures():
    made = serving(max_restarts=1)
    fail_once(made, now=100)
    restart(made, now=200, by="root")
    assert made.state.budget.used(now=200) == 0


def test_failures_in_a_row_make_the_next_start_wait_longer_and_longer():
    made = serving(max_restarts=10)
    waited = []
    now = 0.0
    for _ in range(6):
        made.check_result(name="HTTP", complaint="refused", now=now)
        stopped(made, now=now)
        if made.state.phase is Phase.WAITING:
            assert made.state.why_not_ready() == "pauses before the next start, since failures come in a row"
        waited.append((made.next_tick_at() if made.state.phase is Phase.WAITING else now) - now)
        now += waited[-1]
        made.tick(now=now)
        ends(made, now=now)
        made.check_result(name="HTTP", complaint=None, now=now)
    assert waited == [0, 1, 3, 7, 15, 30]


def test_an_operator_who_starts_ends_the_pause():
    made = serving()
    fail_once(made, now=0)
    made.check_result(name="HTTP", complaint="refused", now=41)
    stopped(made, now=41)
    assert made.state.phase is Phase.WAITING
    start(made, now=41.5, by="root")
    assert runs(made)[0] == "start"


def test_a_start_script_that_fails_is_a_failure_with_its_last_words():
    made = module()
    made.begin(now=0)
    events = ends(made, "exit status 7", ["no such port", "giving up"], now=2)
    problem = "the start script exit status 7, its last words: no such port | giving up"
    assert told(events) == [problem, f"UP(Transient): restart after a failure: {problem}; the stop script runs"]
    assert runs(made) == ("stop", "UP", "UP", "restart")


def test_a_start_script_that_hangs_is_a_failure():
    made = module(start_timeout=30)
    made.begin(now=0)
    assert made.next_tick_at() == 30
    made.tick(now=30)
    assert (runs(made)[0], made.state.aim) == ("stop", Aim.RESTART)


def test_a_prestart_script_that_fails_begins_anew_without_a_stop_script():
    made = module(prestart="bin/prestart")
    made.begin(now=0)
    ends(made, "exit status 1", now=1)
    assert (runs(made)[0], made.state.budget.used(now=1)) == ("prestart", 1)


def test_a_check_that_has_not_passed_since_the_start_is_no_failure_before_start_timeout():
    made = module(start_timeout=60)
    made.begin(now=0)
    ends(made, now=5)
    made.check_result(name="HTTP", complaint="refused", now=10)
    assert (made.state.phase, made.state.name, made.next_tick_at()) == (Phase.SERVING, "UP(Transient)", 60)
    made.tick(now=60)
    assert (made.state.phase, made.state.aim, made.state.budget.used(now=60)) == (Phase.LEAVING, Aim.RESTART, 1)


def test_a_check_that_says_nothing_at_all_is_a_failure_after_start_timeout():
    made = module(start_timeout=60)
    made.begin(now=0)
    ends(made, now=5)
    made.tick(now=60)
    assert made.state.why_not_ready() == f"restarting: check HTTP: {UNCHECKED}"


def test_a_check_that_leads_to_nothing_does_not_shield_another_one_after_start_timeout():
    made = module(CheckRule(name="PAGE"), HTTP, start_timeout=60)
    made.begin(now=0)
    ends(made, now=5)
    made.check_result(name="HTTP", complaint=None, now=6)
    made.tick(now=60)
    assert made.state.phase is Phase.SERVING
    made.check_result(name="HTTP", complaint="refused", now=70)
    assert made.state.aim is Aim.RESTART


def test_a_drained_module_is_restarted_too_and_stays_drained():
    made = serving()
    drain(made, now=0, by="root")
    made.check_result(name="HTTP", complaint="refused", now=1)
    stopped(made, now=2)
    ends(made, now=3)
    assert (made.state.phase, made.state.last_word) == (Phase.DRAINING, Word.DRAIN)


def test_connections_to_what_fails_by_its_own_check_are_waited_for_briefly_and_others_as_long_as_they_may():
    broken = serving()
    broken.check_result(name="HTTP", complaint="no answer within 5s", now=0)
    broken.evidence(connections={80: 3}, probers=(), now=1)
    assert broken.next_tick_at() == 2
    needy = serving(HTTP, ROUTER)
    needy.check_result(name="ROUTER", complaint="no answer", now=0)
    assert needy.next_tick_at() == 10


def test_a_check_says_init_until_it_has_a_result_and_nothing_where_there_is_no_such_check():
    made = module()
    board = made.state.board
    assert (board.says("HTTP"), board.says("FTP")) == ("init", None)
    made.begin(now=0)
    ends(made, now=1)
    made.check_result(name="HTTP", complaint=None, now=2)
    assert board.says("HTTP") == "up"
    made.check_result(name="HTTP", complaint="refused", now=3)
    assert board.says("HTTP") == "down"


def test_a_check_that_still_passes_is_no_news():
    made = serving()
    assert not made.is_news("HTTP", None)
    assert made.is_news("HTTP", "refused")
    made.check_result(name="HTTP", complaint="refused", now=0)
    assert made.is_news("HTTP", None)


def test_the_drain_before_a_stop_script_has_a_limit_of_its_own():
    made = serving(drain=3)
    stop(made, now=0, by="root")
    made.evidence(connections={80: 1}, probers=(), now=1)
    assert made.next_tick_at() == 3
    made.tick(now=3)
    assert runs(made)[0] == "stop"


# What it needs


def test_a_need_that_is_not_met_keeps_the_module_waiting():
    made = module(ROUTER)
    made.begin(now=0)
    assert made.state.name == "WAIT(Transient)"
    assert told(made.check_result(name="ROUTER", complaint="no answer", now=1)) == [
        "ROUTER fails: no answer",
        "WAIT(NotReady): check ROUTER: no answer",
    ]
    assert (runs(made), made.state.unmet) == (None, ("ROUTER",))
    assert told(made.check_result(name="ROUTER", complaint=None, now=2)) == [
        "ROUTER passes",
        "UP(Transient): all that it needs is there; the start script runs",
    ]


def test_a_need_that_is_lost_stops_the_application_until_it_is_back():
    made = serving(HTTP, ROUTER, poststop="bin/poststop")
    events = made.check_result(name="ROUTER", complaint="no answer", now=5)
    assert told(events) == [
        "ROUTER fails: no answer",
        "UP(Transient), draining: stopwait after a failure: check ROUTER: no answer, drains for 10 s at most",
    ]
    assert made.state.why_not_ready() == "stopping, to wait: check ROUTER: no answer"
    made.evidence(**NOBODY, now=6)
    assert runs(made) == ("stop", "UP", "WAIT", "stopwait")
    ends(made, now=7)
    assert (made.state.name, runs(made), made.state.need_round) == ("WAIT(NotReady)", None, 1)
    made.check_result(name="ROUTER", complaint=None, now=8)
    assert runs(made) == ("start", "WAIT", "UP", "start")


def test_a_need_that_is_back_while_the_application_stops_starts_it_at_once_after():
    made = serving(HTTP, ROUTER)
    made.check_result(name="ROUTER", complaint="no answer", now=5)
    made.evidence(**NOBODY, now=6)
    made.check_result(name="ROUTER", complaint=None, now=6.5)
    ends(made, now=7)
    assert runs(made)[0] == "start"


def test_a_need_without_action_only_warns():
    made = serving(HTTP, CheckRule(name="PRINTER", pre=True, action="none"))
    made.check_result(name="PRINTER", complaint="no paper", now=1)
    assert made.state.serving


def test_a_need_with_action_stop_stops_the_application_for_good():
    made = serving(HTTP, CheckRule(name="LICENCE", pre=True, action="stop"))
    made.check_result(name="LICENCE", complaint="expired", now=1)
    stopped(made, now=2)
    assert (made.state.name, made.state.why_not_ready()) == (
        "STOP(NotReady)",
        "stopped by itself: check LICENCE: expired",
    )


def test_a_need_with_action_stop_stops_also_what_waits():
    made = module(CheckRule(name="LICENCE", pre=True, action="stop"))
    made.begin(now=0)
    made.check_result(name="LICENCE", complaint="expired", now=1)
    assert (made.state.name, made.state.why_not_ready()) == (
        "STOP(NotReady)",
        "stopped by itself: check LICENCE: expired",
    )


# A need that all share


def test_when_nobody_is_left_to_serve_the_log_shouts():
    made = serving(HTTP, ROUTER)
    made.see_farm(Outlook(others_serve=False, is_last=True), now=1)
    events = made.check_result(name="ROUTER", complaint="no answer", now=2)
    assert told(events)[1] == "no node of the farm is left to serve: check ROUTER: no answer"
    assert events[1].level is Level.ERROR
    assert made.state.phase is Phase.LEAVING


def test_the_last_one_stays_if_the_farm_wants_that_and_leaves_when_another_is_better_off():
    made = serving(HTTP, ROUTER, last_stays=True)
    made.see_farm(Outlook(others_serve=False, is_last=True), now=1)
    made.check_result(name="ROUTER", complaint="no answer", now=2)
    assert (made.state.serving, made.next_tick_at()) == (True, 3)
    [event] = made.tick(now=3)
    assert event.message == "UP(Ready): check ROUTER: no answer; stays UP, since no other node would be left"
    assert (event.level, made.state.remark in event.message, made.state.serving) == (Level.ERROR, True, True)
    assert made.check_result(name="ROUTER", complaint="no answer yet", now=4) == []
    made.see_farm(OTHERS_SERVE, now=5)
    assert made.state.aim is Aim.WAIT


def test_the_last_one_that_stayed_says_when_its_need_is_met_again():
    made = serving(HTTP, ROUTER, last_stays=True)
    made.see_farm(Outlook(others_serve=False, is_last=True), now=1)
    made.check_result(name="ROUTER", complaint="no answer", now=2)
    made.tick(now=3)
    assert told(made.check_result(name="ROUTER", complaint=None, now=4)) == [
        "ROUTER passes",
        "UP(Ready): all that it needs is there again",
    ]
    assert made.state.remark == ""


def test_of_several_that_lack_the_same_only_one_stays():
    made = serving(HTTP, ROUTER, last_stays=True)
    made.see_farm(Outlook(others_serve=False, is_last=False), now=1)
    made.check_result(name="ROUTER", complaint="no answer", now=2)
    made.tick(now=3)
    assert made.state.aim is Aim.WAIT


# What the application asks for itself


def test_a_start_script_may_ask_for_a_stop_which_comes_when_it_has_ended():
    made = module()
    made.begin(now=0)
    assert made.request("stop", "start_both asks for it", now=1).accepted
    assert runs(made)[0] == "start"
    ends(made, now=2)
    assert (runs(made), made.state.aim) == (("stop", "UP", "WAIT", "stop"), Aim.STOP)
    ends(made, now=3)
    assert made.state.why_not_ready() == "stopped by itself: start_both asks for it"


def test_what_a_start_script_asked_for_is_forgotten_when_the_start_is_called_off():
    made = module()
    made.begin(now=0)
    made.request("stop", "start_both asks for it", now=1)
    stop(made, now=2, by="root")
    ends(made, now=3)
    start(made, now=4, by="root")
    ends(made, now=5)
    assert made.state.phase is Phase.SERVING


def test_a_failure_that_the_application_has_mended_counts_until_the_budget_is_spent():
    made = serving(max_restarts=1)
    assert made.count_failure("httpd has restarted something", now=1).text == "1 of 1 restarts"
    refused = made.count_failure("httpd has restarted something", now=2)
    assert (refused.accepted, made.state.budget.used(now=2), made.state.serving) == (False, 1, True)
    assert refused.text.startswith("the budget is spent: failure 2 within 1d")
    reset = reset_budget(made, by="root")
    assert (reset.text, made.state.budget.used(now=3)) == ("no restart counts any more", 0)
    assert told(reset.events) == ["UP(Ready): restarts are counted anew, says root"]


def test_what_the_application_asks_for_counts_as_a_failure():
    made = serving()
    assert made.request("restart", "custom.queue asks for it", now=1).accepted
    assert (made.state.aim, made.state.budget.used(now=1)) == (Aim.RESTART, 1)
    assert not made.request("restart", "again", now=2).accepted


# The next daemon


def test_a_shutdown_drains_and_leaves_the_application_running():
    made = serving()
    shutdown(made, now=1, by="SIGTERM")
    assert told(made.evidence(**NOBODY, now=3)) == [
        "STOP(NotReady): stopped after 2.0 s, nobody is left; the application runs on"
    ]
    assert (made.state.finished, made.state.script, made.state.past.left, made.state.past.has_passed) == (
        True,
        None,
        Left.STARTED,
        True,
    )


def test_the_next_daemon_takes_the_application_over_as_it_runs():
    made = module(past=Past(left=Left.STARTED, has_passed=True))
    assert told(made.begin(now=0)) == [
        "UP(Transient): took over the application as it runs; check HTTP: not passed yet"
    ]
    assert made.state.script is None
    assert made.check_result(name="HTTP", complaint=UNCHECKED, now=0.5) == []
    made.check_result(name="HTTP", complaint=None, now=1)
    assert made.state.serving


def test_an_application_that_died_without_a_daemon_is_restarted_by_the_next_one():
    made = module(past=Past(left=Left.STARTED, has_passed=True))
    made.begin(now=0)
    made.check_result(name="HTTP", complaint="refused", now=1)
    assert (made.state.aim, made.state.budget.used(now=1)) == (Aim.RESTART, 1)


@pytest.mark.parametrize("phase", ["starting", "closing"])
def test_a_daemon_that_ended_in_the_midst_of_a_script_leaves_a_case_for_the_stop_script(phase):
    made = module() if phase == "starting" else serving()
    if phase == "starting":
        made.begin(now=0)
    else:
        restart(made, now=0, by="root")
        made.evidence(**NOBODY, now=1)
    again = module(past=made.state.past)
    again.begin(now=0)
    assert runs(again) == ("stop", "UP", "WAIT", "stopstart")
    # A script of the former daemon may still be at work.
    ends(again, now=1)
    assert runs(again)[0] == "stop force"
    ends(again, now=1)
    assert runs(again)[0] == "kill"
    ends(again, now=1)
    assert runs(again)[0] == "start"


def test_an_application_that_still_runs_after_the_operators_stop_is_stopped():
    made = module(past=Past(last_word=Word.STOP, left=Left.STARTED))
    made.begin(now=0)
    assert runs(made)[0] == "stop"
    ends(made, now=1)
    assert made.state.name == "STOP(NotReady)"


def test_the_budget_and_a_module_that_gave_up_outlast_the_daemon():
    made = serving(max_restarts=1)
    fail_once(made, now=0)
    assert made.state.past.failures
    made.check_result(name="HTTP", complaint="refused", now=50)
    stopped(made, now=51)
    again = module(past=made.state.past, max_restarts=1)
    [event] = again.begin(now=60)
    assert event.message.startswith("STOP(NotReady): not started, failure 2 within 1d")
    assert again.state.budget.used(now=60) == 1


@pytest.mark.parametrize(("again", "finished"), [(False, False), (True, True)])
def test_a_shutdown_in_the_midst_of_a_stop_follows_it_and_a_second_one_does_not(again, finished):
    made = serving()
    stop(made, now=0, by="root")
    made.evidence(**NOBODY, now=1)
    shutdown(made, now=2, by="SIGTERM")
    if again:
        shutdown(made, now=3, by="SIGTERM")
    assert made.state.finished is finished
    if not again:
        ends(made, now=4)
        assert (made.state.finished, made.state.left) == (True, Left.STOPPED)


def test_a_shutdown_in_the_midst_of_a_restart_ends_after_the_stop_script():
    made = serving()
    restart(made, now=0, by="root")
    made.evidence(**NOBODY, now=1)
    shutdown(made, now=2, by="SIGTERM")
    assert told(ends(made, now=3)) == ["STOP(NotReady): stopped after 3.0 s, the stop script took 2.0 s"]
    assert (made.state.finished, made.state.left, made.state.last_word) == (True, Left.STOPPED, Word.START)


# Commands in the midst


def test_a_start_called_off_is_stopped_by_script():
    made = module()
    made.begin(now=0)
    stop(made, now=1, by="root")
    assert (runs(made), made.state.last_word) == (("stop", "UP", "WAIT", "stop"), Word.STOP)
    ends(made, now=2)
    assert made.state.name == "STOP(NotReady)"


def test_a_restart_while_the_start_script_runs_stops_and_starts_anew():
    made = module()
    made.begin(now=0)
    assert restart(made, now=1, by="root").text == "the application restarts"
    assert runs(made) == ("stop", "UP", "UP", "restart")
    ends(made, now=2)
    assert runs(made) == ("start", "UP", "UP", "restart")


def test_a_second_stop_does_not_wait_for_the_poststop_script():
    made = serving(poststop="bin/poststop")
    stop(made, now=0, by="root")
    stopped(made, now=1)
    assert runs(made)[0] == "poststop"
    assert told(stop(made, now=2, by="root").events) == [
        "STOP(NotReady): stopped after 2.0 s, stop again by root, no more waiting"
    ]
    assert runs(made) is None


def test_a_start_in_the_midst_of_a_stop_comes_after_it():
    made = serving()
    stop(made, now=0, by="root")
    made.evidence(**NOBODY, now=1)
    assert start(made, now=2, by="root").text == "the application will start as soon as it has stopped"
    ends(made, now=3)
    assert (runs(made)[0], made.state.last_word) == ("start", Word.START)


def test_a_drain_ordered_while_it_starts_holds_when_it_has_started():
    made = module()
    made.begin(now=0)
    assert drain(made, now=1, by="root").text == "the application is starting and will drain then"
    ends(made, now=2)
    assert made.state.phase is Phase.DRAINING
    resume(made, now=3, by="root")
    assert made.state.phase is Phase.SERVING


def test_a_restart_while_it_waits_is_a_start():
    made = module(ROUTER)
    made.begin(now=0)
    assert restart(made, now=1, by="root").accepted
    assert made.state.phase is Phase.WAITING


# Whatever happens


class AnyApplication(RuleBasedStateMachine):
    """Orders, scripts that end in any way or never, checks, evidence, time, and daemons that die, in any order."""

    CHECKS = (HTTP, CheckRule(name="DB", action="stopstart"), CheckRule(name="DISK", action="stop"), ROUTER)

    @initialize(prestart=st.booleans(), poststop=st.booleans(), safekit=st.booleans(), last_stays=st.booleans())
    def begin(self, prestart, poststop, safekit, last_stays):
        scripts = {"prestart": "p"} if prestart else {}
        scripts |= {"poststop": "q"} if poststop else {}
        self.options = scripts | {"safekit": safekit, "last_stays": last_stays}
        self.now = 0.0
        self.runs_for_real = False
        "The application has processes: what a start script makes and a stop ends."
        self.run_began = 0.0
        self.boot(Past())

    def boot(self, past):
        self.made = module(*self.CHECKS, past=past, **self.options)
        self.number = 0
        self.take(self.made.begin(now=self.now))

    def take(self, events):
        for event in events:
            assert event.message.isprintable()
        script = self.made.state.script
        if script is not None and script.number != self.number:
            assert script.number == self.number + 1
            self.number = script.number
            self.run_began = self.now
            if script.script == "start":
                assert not self.runs_for_real, "started twice"
                self.runs_for_real = True

    @rule(order=st.sampled_from([start, stop, restart, drain, resume]))
    def order(self, order):
        before = self.made.state.past, self.made.state.phase, self.made.state.script
        outcome = order(self.made, now=self.now, by="root")
        assert outcome.text
        if not outcome.accepted:
            assert (self.made.state.past, self.made.state.phase, self.made.state.script) == before
        self.take(outcome.events)

    @rule(action=st.sampled_from(["restart", "stopstart", "wait", "stop"]))
    def request(self, action):
        self.take(self.made.request(action, "the application asks", now=self.now).events)

    @precondition(lambda self: self.made.state.script)
    @rule(failure=st.sampled_from([None, None, "exit status 1"]))
    def script_ends(self, failure):
        if failure is None and self.made.state.script.script in ("stop", "stop force", "kill"):
            self.runs_for_real = False
        self.take(self.made.script_ended(self.made.state.script.number, failure, ["last words"], now=self.now))

    @rule(name=st.sampled_from(["HTTP", "DB", "DISK", "ROUTER"]), complaint=st.sampled_from([None, None, None, "bad"]))
    def check(self, name, complaint):
        self.take(self.made.check_result(name=name, complaint=complaint, now=self.now))

    @rule(others=st.booleans(), last=st.booleans())
    def look_around(self, others, last):
        self.take(self.made.see_farm(Outlook(others_serve=others, is_last=last), now=self.now))

    @rule(connections=st.none() | st.just({80: 0}) | st.just({80: 2}))
    def evidence(self, connections):
        self.take(self.made.evidence(connections=connections, probers=(), now=self.now))

    @rule(seconds=st.sampled_from([0.5, 5, 60, 400]))
    def time_passes(self, seconds):
        end = self.now + seconds
        while (due := self.made.next_tick_at()) <= end:
            self.now = max(self.now, due)
            self.take(self.made.tick(now=self.now))
        self.now = end

    @rule()
    def the_daemon_is_killed(self):
        self.boot(self.made.state.past)

    @rule()
    def the_daemon_is_ended(self):
        self.take(shutdown(self.made, now=self.now, by="SIGTERM"))
        if self.made.state.finished:
            self.boot(self.made.state.past)

    @invariant()
    def traffic_comes_only_to_an_application_that_runs_and_passes(self):
        made = self.made
        if made.state.serving:
            assert self.runs_for_real
            assert made.state.left is Left.STARTED
            assert not [text for text in made.state.board.of_application().values() if text]
        assert (made.state.why_not_ready() is None) == made.state.serving

    @invariant()
    def no_script_runs_while_there_is_traffic(self):
        assert not (self.made.state.script and (self.made.state.serving or self.made.state.draining))

    @invariant()
    def every_wait_for_a_script_has_an_end(self):
        assert self.made.state.script is None or self.now <= self.made.next_tick_at() < inf

    @invariant()
    def nothing_stands_still_but_by_somebodys_wish(self):
        made = self.made
        if made.state.phase in (Phase.PREPARING, Phase.STARTING, Phase.CLOSING, Phase.CLEARING):
            assert made.state.script is not None

    @invariant()
    def what_may_run_is_never_taken_for_stopped(self):
        assert not (self.runs_for_real and self.made.state.left is Left.STOPPED)

    @invariant()
    def the_budget_holds(self):
        assert self.made.state.budget.used(now=self.now) <= 3

    @invariant()
    def a_stopped_module_says_why(self):
        if self.made.state.phase is Phase.STOPPED:
            assert self.made.state.status is Status.NOT_READY
            assert self.made.state.last_word is Word.STOP or self.made.state.gave_up


AnyApplication.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
test_promises_hold_whatever_happens = AnyApplication.TestCase
