"""What a failure costs: of a check, of a script, or one that the application itself reports."""

import pytest
from scripted_application import HTTP, ROUTER, ends, fail_once, module, runs, serving, stopped, told

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.application.commands import drain, reset_budget, restart, start, stop
from hcsidecar.core.application.states import Aim, Phase, Word
from hcsidecar.core.events import Level

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
        ("restart", Aim.RESTART, Phase.FINAL_DRAIN),
        ("stopstart", Aim.STOPSTART, Phase.FINAL_DRAIN),
        ("stop", Aim.STOP, Phase.FINAL_DRAIN),
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
    assert (made.state.phase, made.state.aim, made.state.budget.used(now=60)) == (Phase.FINAL_DRAIN, Aim.RESTART, 1)


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
    assert refused.text.startswith("the restart budget is used up: failure 2 within 1d")
    reset = reset_budget(made, by="root")
    assert (reset.text, made.state.budget.used(now=3)) == ("the restart budget is reset", 0)
    assert told(reset.events) == ["UP(Ready): the restart budget was reset by root"]


def test_what_the_application_asks_for_counts_as_a_failure():
    made = serving()
    assert made.request("restart", "custom.queue asks for it", now=1).accepted
    assert (made.state.aim, made.state.budget.used(now=1)) == (Aim.RESTART, 1)
    assert not made.request("restart", "again", now=2).accepted
