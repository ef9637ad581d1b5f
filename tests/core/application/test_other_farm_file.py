"""A running application when the farm file changes: checks, limits and scripts."""

import pytest
from plain_application import ready
from scripted_application import HTTP, NOBODY, OTHERS_SERVE, ROUTER, ends, module, runs, serving, told

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.application.last_stays import NOBODY_HEARD
from hcsidecar.core.application.scripts import ScriptPlan
from hcsidecar.core.farmfile.application_table import ApplicationTable

SMTP = CheckRule(name="SMTP", action="restart")


def change(made, *checks, begun=(), lame_duck=10.0, last_stays=False, **table):
    plan = ScriptPlan(table=ApplicationTable(**{"start": "bin/start", "stop": "bin/stop"} | table))
    return made.reconfigure(checks=checks, begun=set(begun), lame_duck=lame_duck, plan=plan, last_stays=last_stays)


def test_a_new_check_takes_no_traffic_away_before_it_has_found_something():
    made = serving(HTTP)
    assert change(made, HTTP, SMTP, begun=["SMTP"]) == []
    assert made.state.serving
    assert made.state.board.says("SMTP") == "init"
    made.check_result(name="SMTP", complaint=UNCHECKED, now=1)
    assert made.state.serving
    assert told(made.check_result(name="SMTP", complaint=None, now=2)) == ["SMTP passes"]


def test_a_new_check_that_fails_acts_like_any_other():
    made = serving(HTTP)
    change(made, HTTP, SMTP, begun=["SMTP"])
    events = told(made.check_result(name="SMTP", complaint="refused", now=2))
    assert events[0] == "SMTP fails: refused"
    assert "restart after a failure: check SMTP: refused" in events[-1]


def test_a_new_need_takes_no_traffic_away_before_it_has_found_something():
    made = serving(HTTP)
    change(made, HTTP, ROUTER, begun=["ROUTER"])
    assert made.state.serving
    made.see_farm(OTHERS_SERVE, now=2)
    made.check_result(name="ROUTER", complaint="no answer", now=2)
    assert made.state.draining


def test_an_application_that_waits_waits_for_a_new_need_too():
    made = module(HTTP, ROUTER)
    made.begin(now=0)
    printer = CheckRule(name="PRINTER", pre=True, action="wait")
    change(made, HTTP, ROUTER, printer, begun=["PRINTER"])
    made.check_result(name="ROUTER", complaint=None, now=1)
    assert runs(made) is None
    made.check_result(name="PRINTER", complaint=None, now=2)
    assert runs(made) == ("start", "WAIT", "UP", "start")


def test_an_application_starts_at_once_when_the_need_that_it_waits_for_is_removed():
    made = module(HTTP, ROUTER)
    made.begin(now=0)
    change(made, HTTP)
    assert made.next_tick_at() <= 1
    made.tick(now=1)
    assert runs(made) == ("start", "WAIT", "UP", "start")


def test_a_changed_check_that_passed_disturbs_nothing_and_one_that_failed_must_pass_first():
    warns = CheckRule(name="HTTP")
    made = serving(warns)
    change(made, warns, begun=["HTTP"])
    assert made.state.serving
    made.check_result(name="HTTP", complaint="refused", now=1)
    assert not made.state.serving
    change(made, warns, begun=["HTTP"])
    assert not made.state.serving
    made.check_result(name="HTTP", complaint=None, now=3)
    assert made.state.serving


def test_a_failing_check_that_is_removed_keeps_nobody_from_serving():
    warns = CheckRule(name="SMTP")
    made = serving(HTTP, warns)
    made.check_result(name="SMTP", complaint="refused", now=1)
    assert told(change(made, HTTP)) == ["UP(Ready): other checks, and every check passes"]
    assert made.state.serving


def test_a_changed_action_counts_from_the_next_failure_on():
    made = serving(HTTP, CheckRule(name="SMTP"))
    made.check_result(name="SMTP", complaint="refused", now=1)
    assert change(made, HTTP, SMTP) == []
    assert not made.state.draining
    made.check_result(name="SMTP", complaint="refused", now=2)
    assert made.state.draining


def test_a_new_round_asks_of_a_new_check_what_it_asks_of_all():
    made = serving(HTTP)
    change(made, HTTP, SMTP, begun=["SMTP"])
    made.check_result(name="HTTP", complaint="refused", now=1)
    made.evidence(**NOBODY, now=2)
    ends(made, now=3)
    ends(made, now=4)
    made.check_result(name="HTTP", complaint=None, now=5)
    assert (made.state.name, made.state.why_not_ready()) == ("UP(Transient)", "check SMTP: not passed yet")


def test_a_removed_need_ends_the_stay_of_the_last_node():
    made = serving(HTTP, ROUTER, last_stays=True)
    made.see_farm(NOBODY_HEARD, now=0)
    made.check_result(name="ROUTER", complaint="no answer", now=1)
    made.tick(now=3)
    assert "stays UP" in made.state.remark
    assert told(change(made, HTTP, last_stays=True)) == ["UP(Ready): all its needs are met, by other checks"]
    assert made.state.remark == ""


def test_a_drain_and_a_script_in_progress_keep_their_limits_and_the_next_have_the_new_ones():
    made = serving(HTTP, drain="10s", stop_timeout="20s")
    made.check_result(name="HTTP", complaint=None, now=0)
    made.request("restart", "it asks", now=1)
    assert made.next_tick_at() == 11
    change(made, HTTP, drain="3s", stop_timeout="2s")
    assert made.next_tick_at() == 11
    made.evidence(**NOBODY, now=5)
    assert made.next_tick_at() == 7
    change(made, HTTP, drain="3s", stop_timeout="60s")
    assert made.next_tick_at() == 7


def test_failures_of_before_count_in_another_restart_budget():
    made = serving(HTTP, max_restarts=3, restart_window="1h")
    for second in range(3):
        made.count_failure("it has crashed", now=second)
    assert made.state.budget.is_reached(now=3)
    change(made, HTTP, max_restarts=5, restart_window="1h")
    assert (made.state.budget.used(now=3), made.state.budget.is_reached(now=3)) == (3, False)


def test_an_application_without_scripts_takes_other_checks_too():
    made = ready("HTTP")
    other = {"lame_duck": 3, "plan": ScriptPlan(), "last_stays": False}
    assert made.reconfigure(checks=[HTTP, SMTP], begun={"SMTP"}, **other) == []
    assert made.state.serving


def test_who_starts_the_application_cannot_change_while_it_runs():
    made = serving(HTTP)
    with pytest.raises(ValueError, match="cannot change"):
        made.reconfigure(checks=[HTTP], begun=set(), lame_duck=10, plan=ScriptPlan(), last_stays=False)
