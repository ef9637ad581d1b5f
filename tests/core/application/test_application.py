"""An application with scripts: commands in the midst of others, and whatever hypothesis thinks of."""

from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scripted_application import HTTP, NOBODY, ROUTER, ends, module, runs, serving, stopped, told

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.commands import drain, restart, resume, shutdown, start, stop
from hcsidecar.core.application.last_stays import Outlook
from hcsidecar.core.application.state import Past
from hcsidecar.core.application.states import Left, Phase, Status, Word

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
