"""The application's life: traffic only when Ready, the last word of the operator, and whatever hypothesis thinks of."""

from math import inf

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from plain_application import NOBODY, ORDERS, STOP, module, ready, started, told

from hcsidecar.core.application.check_results import CheckRule
from hcsidecar.core.application.checks import UNCHECKED
from hcsidecar.core.application.commands import leave, restart, shutdown, stop
from hcsidecar.core.application.lifecycle import Lifecycle
from hcsidecar.core.application.states import Role, Status, Word
from hcsidecar.core.events import Level

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
