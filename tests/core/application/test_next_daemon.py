"""What a daemon leaves behind when it ends, and what the next one finds."""

import pytest
from scripted_application import NOBODY, ends, fail_once, module, runs, serving, stopped, told

from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.application.commands import restart, shutdown, stop
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Aim, Left, Word


def test_a_shutdown_drains_and_leaves_the_application_running():
    made = serving()
    shutdown(made, now=1, by="SIGTERM")
    assert told(made.evidence(**NOBODY, now=3)) == [
        "STOP(NotReady): drained for 2.0 s, nobody is left; the application runs on"
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
