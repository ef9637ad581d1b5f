"""What an application waits for before it starts, and what happens when that is lost."""

from scripted_application import HTTP, NOBODY, OTHERS_SERVE, ROUTER, ends, module, runs, serving, stopped, told

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.last_stays import Outlook
from hcsidecar.core.application.states import Aim, Phase
from hcsidecar.core.events import Level

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
        "UP(Transient): all its needs are met; the start script runs",
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
    assert made.state.phase is Phase.FINAL_DRAIN


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
        "UP(Ready): all its needs are met again",
    ]
    assert made.state.remark == ""


def test_of_several_that_lack_the_same_only_one_stays():
    made = serving(HTTP, ROUTER, last_stays=True)
    made.see_farm(Outlook(others_serve=False, is_last=False), now=1)
    made.check_result(name="ROUTER", complaint="no answer", now=2)
    made.tick(now=3)
    assert made.state.aim is Aim.WAIT
