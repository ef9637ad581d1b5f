"""Which script runs when, and what is done about one that hangs, fails or leaves processes behind."""

from scripted_application import HTTP, NOBODY, ROUTER, ends, module, runs, serving, stopped, told

from hcsidecar.core.application.commands import restart, start, stop
from hcsidecar.core.application.states import Aim, Left, Phase, Role
from hcsidecar.core.events import Level

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
    assert made.state.why_not_ready() == "the prestart script runs"
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
