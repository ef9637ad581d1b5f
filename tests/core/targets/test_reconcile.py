"""The reconcile loop of one target, story by story, and under whatever hypothesis thinks of."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from reconciling import LEFT, READY, UNREADY, Balancer, Loop

from hcsidecar.core.application.states import Word
from hcsidecar.core.targets.backoff import Backoff
from hcsidecar.core.targets.desired_state import Situation
from hcsidecar.core.targets.registration import Call, Observation, Presence, TargetError, Trouble

DRAINED = Situation(word=Word.DRAIN, ready=False, in_view=True)
STOPPED = Situation(word=Word.STOP, ready=False, in_view=False)


def always(trouble: Trouble, text: str = "no", *, of: Call | None = None, until: float = float("inf")):
    def fault(call, now):
        return TargetError(trouble, text) if now < until and of in (None, call) else None

    return fault


def registered(**options) -> Loop:
    loop = Loop(**options)
    loop.follow(READY)
    loop.run(30)
    assert loop.balancer.changes == [Call.REGISTER]
    return loop


# What is wished


def test_a_removed_target_is_over_when_this_node_is_deregistered_there():
    loop = registered()
    assert not loop.reconciler.is_over(now=loop.now)
    loop.follow(replace(READY, removed=True))
    assert not loop.reconciler.is_over(now=loop.now)
    loop.run(10)
    assert loop.balancer.changes == [Call.REGISTER, Call.DEREGISTER]
    assert loop.reconciler.is_over(now=loop.now)
    assert "web: is to be deregistered: the farm file no longer has this target" in [
        each.message for each in loop.events
    ]


def test_a_removed_target_that_does_not_answer_is_over_after_the_limit_of_a_leave():
    loop = registered()
    loop.balancer.fault = always(Trouble.RETRY)
    loop.follow(replace(READY, removed=True))
    loop.run(19)
    assert not loop.reconciler.is_over(now=loop.now)
    loop.run(2)
    assert loop.reconciler.is_over(now=loop.now)
    assert [each.message for each in loop.events if "by hand" in each.message] == [
        "web: is not deregistered after 20 s: no; deregister it by hand"
    ]


def test_a_removed_target_that_is_only_watched_is_over_at_once():
    loop = Loop(policy="observe")
    loop.follow(replace(READY, removed=True))
    assert loop.reconciler.is_over(now=loop.now)


def test_a_removed_target_that_is_back_stays_registered():
    loop = registered()
    loop.follow(replace(READY, removed=True))
    loop.follow(READY)
    loop.run(100)
    assert loop.balancer.changes == [Call.REGISTER]


def test_another_policy_and_pace_count_at_once_and_begin_with_a_look():
    loop = registered()
    looks = loop.balancer.count(Call.OBSERVE)
    loop.events += loop.reconciler.adjust(
        policy="healthy", backoff=Backoff(poll=300, unhealthy=30), tells_first=False, now=loop.now
    )
    loop.run(0.1)
    assert loop.balancer.count(Call.OBSERVE) == looks + 1
    loop.follow(UNREADY)
    loop.run(60)
    assert loop.balancer.changes == [Call.REGISTER, Call.DEREGISTER]


def test_nothing_is_to_be_asked_while_a_call_is_made():
    reconciler = Loop().reconciler
    look_at = reconciler.next_at(now=1000.0)
    assert reconciler.due(now=look_at) is Call.OBSERVE
    assert reconciler.next_at(now=look_at) == float("inf")


def test_a_node_is_registered_once_when_it_is_ready_and_a_member():
    loop = Loop()
    loop.run(120)
    assert loop.balancer.changes == []
    loop.follow(READY)
    loop.run(4.9)
    assert loop.balancer.changes == []
    loop.run(4000)
    assert loop.balancer.changes == [Call.REGISTER]
    assert loop.said_of("registered: Ready and a member") == 1


def test_a_node_out_of_the_view_is_not_registered():
    loop = Loop()
    loop.follow(Situation(word=Word.START, ready=True, in_view=False))
    loop.run(600)
    assert loop.balancer.changes == []


def test_a_restart_or_a_crash_changes_nothing():
    balancer = Balancer(presence=Presence.HEALTHY)
    for situation in (UNREADY, READY, UNREADY, STOPPED, DRAINED):
        loop = Loop(balancer=balancer)
        loop.follow(situation)
        loop.run(300)
    assert balancer.changes == []


@pytest.mark.parametrize("situation", [UNREADY, DRAINED, STOPPED])
def test_a_node_that_gets_no_traffic_stays_registered_since_its_health_tells_that(situation):
    loop = registered()
    loop.follow(situation)
    loop.run(7200)
    assert loop.balancer.changes == [Call.REGISTER]


def test_forty_flaps_cause_no_call_but_the_polls():
    loop = Loop()
    loop.run(10)
    before = len(loop.balancer.asked)
    for flap in range(40):
        loop.follow(READY if flap % 2 else UNREADY)
        loop.run(0.05)
    assert len(loop.balancer.asked) == before
    loop.run(600)
    assert loop.balancer.changes == [Call.REGISTER]  # the last of them was Ready, and lasted


def test_forty_flaps_of_a_registered_node_cause_no_call_but_the_polls():
    loop = registered()
    loop.run(60)
    for flap in range(40):
        loop.follow(UNREADY if flap % 2 else READY)
        loop.run(7)
    assert loop.balancer.changes == [Call.REGISTER]
    assert loop.balancer.count(Call.OBSERVE) < 12


def test_policy_healthy_deregisters_what_has_not_been_ready_for_long_and_registers_it_again():
    loop = registered(policy="healthy")
    loop.follow(UNREADY)
    loop.run(599)
    assert loop.balancer.changes == [Call.REGISTER]
    loop.run(2)
    assert loop.balancer.changes == [Call.REGISTER, Call.DEREGISTER]
    loop.follow(READY)
    loop.run(60)
    assert loop.balancer.changes == [Call.REGISTER, Call.DEREGISTER, Call.REGISTER]


@pytest.mark.parametrize("situation", [READY, UNREADY, LEFT, STOPPED])
def test_policy_observe_only_looks(situation):
    loop = Loop(policy="observe")
    loop.follow(situation)
    loop.run(3600)
    assert loop.balancer.changes == []
    assert loop.balancer.count(Call.OBSERVE) > 40
    assert loop.reconciler.keeps_serving_for(now=loop.now) is loop.reconciler.unfinished is None


# At rest


@pytest.mark.parametrize("seed", range(5))
def test_an_hour_at_rest_takes_at_most_75_calls(seed):
    loop = registered(seed=seed)
    before = len(loop.balancer.asked)
    loop.run(3600)
    assert 48 <= len(loop.balancer.asked) - before <= 75


def test_while_a_balancer_makes_up_its_mind_it_is_asked_often_at_first():
    loop = registered(balancer=Balancer(initial=Presence.PENDING))
    loop.run(90)
    looks = [at for at, call in loop.balancer.asked if call is Call.OBSERVE and at > loop.balancer.asked[2][0]]
    gaps = [later - earlier for earlier, later in pairwise(looks)]
    assert gaps[:4] == pytest.approx([4, 8, 16, 32])


# Somebody else


def test_a_deregistration_by_somebody_else_is_put_right():
    loop = registered()
    loop.balancer.take_out(loop.now)
    loop.run(100)
    assert loop.balancer.changes == [Call.REGISTER] * 2
    assert loop.balancer.presence is Presence.HEALTHY
    assert loop.said_of("warning web: somebody else has deregistered this node") == 1


def test_a_balancer_that_forgets_at_each_reload_is_told_again_at_once_and_nobody_is_accused():
    loop = registered()
    for _ in range(20):
        loop.balancer.presence, loop.balancer.forgot = Presence.ABSENT, True
        loop.run(80)
        assert loop.balancer.presence is Presence.HEALTHY
    assert loop.balancer.changes == [Call.REGISTER] * 21
    assert loop.said_of("info web: the balancer has restarted and forgotten this node") == 20
    assert loop.said_of("somebody else") == 0
    assert loop.reconciler.status(now=loop.now).contested is False


def test_who_keeps_undoing_it_is_put_right_ever_more_rarely_with_one_alarm():
    loop = registered()
    for _ in range(240):
        if loop.balancer.presence is Presence.HEALTHY:
            loop.balancer.take_out(loop.now)
        loop.run(30)
    hours = 2
    assert 8 <= loop.balancer.count(Call.REGISTER) <= 1 + hours * (6 + 6)
    assert loop.said_of("error web: somebody else has deregistered this node") >= 1
    assert loop.reconciler.status(now=loop.now).contested is True


def test_an_alarm_ends_when_nobody_undoes_it_any_more():
    loop = registered()
    for _ in range(40):
        if loop.balancer.presence is Presence.HEALTHY:
            loop.balancer.take_out(loop.now)
        loop.run(30)
    assert loop.reconciler.is_contested(now=loop.now)
    loop.run(2 * 3600)
    assert loop.balancer.presence is Presence.HEALTHY
    assert not loop.reconciler.is_contested(now=loop.now)


def test_what_somebody_registers_again_after_leave_is_deregistered_again():
    loop = registered()
    loop.follow(LEFT)
    loop.run(60)
    loop.balancer.presence = Presence.HEALTHY
    loop.run(100)
    assert loop.balancer.changes == [Call.REGISTER, Call.DEREGISTER, Call.DEREGISTER]
    assert loop.said_of("somebody else has registered this node") == 1


# What balancers say


def test_registered_but_unused_is_registered():
    loop = registered(balancer=Balancer(initial=Presence.UNUSED))
    loop.run(3600)
    assert loop.balancer.changes == [Call.REGISTER]
    assert loop.said_of("warning web: this node is unused there") == 1


def test_a_state_that_cannot_be_read_is_no_ground_for_a_change_unless_the_operator_says_leave():
    loop = Loop(balancer=Balancer(presence=Presence.UNKNOWN), policy="healthy")
    loop.follow(READY)
    loop.run(600)
    loop.follow(UNREADY)
    loop.run(1200)
    assert loop.balancer.changes == []
    loop.follow(LEFT)
    loop.run(10)
    assert loop.balancer.changes == [Call.DEREGISTER]


def test_a_node_that_drains_is_registered_again():
    loop = Loop(balancer=Balancer(presence=Presence.DRAINING))
    loop.follow(READY)
    loop.run(30)
    assert loop.balancer.changes == [Call.REGISTER]


def test_without_the_right_to_look_it_is_registered_blindly_and_now_and_then_again():
    loop = Loop(balancer=Balancer(blind=True))
    loop.follow(READY)
    loop.run(3600)
    assert loop.balancer.changes == [Call.REGISTER] * 6
    assert loop.said_of("registered: Ready and a member, without the right to see it") == 1
    loop.follow(LEFT)
    assert loop.reconciler.unfinished is not None
    loop.run(1)
    assert loop.reconciler.unfinished is None
    loop.run(3600)
    assert loop.balancer.count(Call.DEREGISTER) == 1


def test_what_is_accepted_and_does_nothing_is_told_and_tried_ever_more_rarely():
    loop = Loop(balancer=Balancer(inert=True))
    loop.follow(READY)
    loop.run(3600)
    assert 10 < loop.balancer.count(Call.REGISTER) < 150
    assert loop.said_of("warning web: registered: Ready and a member, again") == 1


def test_the_new_identity_is_registered_before_the_former_is_retired():
    loop = Loop(balancer=Balancer(former=("192.0.2.7:80",)))
    loop.follow(READY)
    loop.run(60)
    assert loop.balancer.changes == [Call.REGISTER, Call.RETIRE]
    assert loop.said_of("deregistered the former identities of this node: 192.0.2.7:80") == 1


def test_leave_retires_the_former_identity_too():
    loop = Loop(balancer=Balancer(presence=Presence.HEALTHY, former=("192.0.2.7:80",)))
    loop.follow(LEFT)
    loop.run(15)
    assert loop.balancer.changes == [Call.DEREGISTER, Call.RETIRE]


# Failures


def test_an_answer_that_is_lost_costs_no_second_registration():
    loop = Loop(balancer=Balancer(lost=1))
    loop.follow(READY)
    loop.run(600)
    assert loop.balancer.changes == [Call.REGISTER]


def test_throttling_is_answered_with_fewer_calls_until_it_works():
    balancer = Balancer()
    loop = Loop(balancer=balancer)
    balancer.fault = lambda call, _now: (
        TargetError(Trouble.THROTTLE, "Throttling") if len(balancer.asked) <= 6 else None
    )
    loop.follow(READY)
    loop.run(600)
    assert balancer.changes == [Call.REGISTER]
    assert loop.said_of("failed: Throttling") == 1
    assert loop.said_of("answers again") == 1


@pytest.mark.parametrize(("trouble", "most"), [(Trouble.AUTH, 40), (Trouble.CONFIG, 40), (Trouble.THROTTLE, 200)])
def test_looks_that_work_do_not_hide_a_change_that_keeps_failing(trouble, most):
    balancer = Balancer()
    loop = Loop(balancer=balancer)
    balancer.fault = always(trouble, of=Call.REGISTER, until=7200)
    loop.follow(READY)
    loop.run(6000)
    assert 10 < balancer.count(Call.REGISTER) <= most
    assert loop.said_of("register failed: no") == 1
    assert loop.said_of("answers again") == 0
    loop.run(1800)
    assert balancer.presence is Presence.HEALTHY
    assert loop.said_of("answers again") == 1


def test_pauses_after_failures_grow_to_a_minute():
    loop = Loop(balancer=Balancer(fault=always(Trouble.RETRY)))
    loop.follow(READY)
    loop.run(4 * 3600)
    times = [at for at, _ in loop.balancer.asked]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) <= 60
    assert max(gaps[:3]) <= 8
    assert sum(gaps[10:]) / len(gaps[10:]) > 20


@pytest.mark.parametrize("trouble", [Trouble.AUTH, Trouble.CONFIG])
def test_what_a_person_must_mend_is_tried_every_five_minutes_at_last_and_told_once(trouble):
    loop = Loop(balancer=Balancer(fault=always(trouble, "AccessDenied", until=1000 + 7200)))
    loop.follow(READY)
    loop.run(7200)
    assert len(loop.balancer.asked) <= 36
    assert loop.said_of("error web: observe failed: AccessDenied") == 1
    loop.run(400)
    assert loop.balancer.changes == [Call.REGISTER]


def test_a_new_wish_does_not_defeat_the_pause():
    loop = Loop(balancer=Balancer(fault=always(Trouble.AUTH)))
    loop.run(10)
    before = len(loop.balancer.asked)
    for flap in range(40):
        loop.follow(READY if flap % 2 else UNREADY)
        loop.run(0.2)
    assert len(loop.balancer.asked) == before


def test_another_error_is_told_anew_and_the_same_one_is_not():
    loop = Loop(balancer=Balancer(fault=always(Trouble.RETRY, "a")))
    loop.run(600)
    loop.balancer.fault = always(Trouble.RETRY, "b")
    loop.run(600)
    assert [loop.said_of("failed: a"), loop.said_of("failed: b")] == [1, 1]


@pytest.mark.parametrize("count", [100])
def test_a_hundred_nodes_that_start_at_once_converge_within_the_limits_of_an_account(count):
    """The buckets of one account and region: reads 40 and 10 a second more, changes 20 and 4 a second more."""
    tokens = {True: [40.0, 10.0, 1000.0], False: [20.0, 4.0, 1000.0]}

    def take(call, now):
        bucket = tokens[call is Call.OBSERVE]
        most = 40.0 if call is Call.OBSERVE else 20.0
        bucket[0] = min(most, bucket[0] + bucket[1] * (now - bucket[2]))
        bucket[2] = now
        if bucket[0] < 1:
            return TargetError(Trouble.THROTTLE, "Throttling")
        bucket[0] -= 1
        return None

    loops = [Loop(seed=seed, balancer=Balancer(fault=take)) for seed in range(count)]
    for loop in loops:
        loop.follow(READY)
    for _ in range(240):
        for loop in loops:
            loop.run(0.5)
    assert all(loop.balancer.presence is Presence.HEALTHY for loop in loops)
    refused = sum(loop.reconciler.failures[Trouble.THROTTLE] for loop in loops)
    assert 0 < refused < 10 * count


# Leaving


def test_leave_deregisters_at_once_and_is_done_when_the_balancer_drains():
    loop = registered()
    loop.follow(LEFT)
    assert loop.reconciler.unfinished == "target web to be deregistered"
    loop.run(2.1)
    assert loop.balancer.changes == [Call.REGISTER, Call.DEREGISTER]
    assert loop.reconciler.unfinished is None


def test_leave_is_done_at_once_where_the_node_was_not_registered():
    loop = Loop(tells_first=True)
    loop.run(30)
    loop.follow(LEFT)
    assert loop.reconciler.keeps_serving_for(now=loop.now) is not None
    loop.run(0.1)
    assert loop.balancer.changes == []
    assert loop.reconciler.unfinished is loop.reconciler.keeps_serving_for(now=loop.now) is None


@pytest.mark.parametrize("trouble", list(Trouble))
def test_leave_ends_within_its_budget_whatever_the_balancer_does_and_goes_on_trying(trouble):
    loop = registered(tells_first=True)
    loop.balancer.fault = always(trouble, "hangs", of=Call.DEREGISTER)
    loop.follow(LEFT)
    loop.run(19.9)
    assert "hangs" in loop.reconciler.unfinished
    assert loop.reconciler.keeps_serving_for(now=loop.now) is not None
    loop.run(0.2)
    assert loop.reconciler.keeps_serving_for(now=loop.now) is None
    assert loop.said_of("error web: is not deregistered after 20 s: hangs; keeps trying") == 1
    loop.balancer.fault = always(trouble, until=0)
    loop.run(400)
    assert loop.balancer.presence in (Presence.DRAINING, Presence.ABSENT)
    assert loop.reconciler.unfinished is None


def test_a_node_has_left_once_a_look_after_the_leave_has_shown_it_and_not_before():
    loop = registered()
    assert (loop.reconciler.is_leaving, loop.reconciler.has_left) == (False, False)
    loop.balancer.fault = always(Trouble.RETRY, of=Call.DEREGISTER)
    loop.follow(LEFT)
    loop.run(3)
    assert (loop.reconciler.is_leaving, loop.reconciler.has_left) == (True, False)
    loop.balancer.fault = always(Trouble.RETRY, until=0)
    loop.run(30)
    assert (loop.reconciler.is_leaving, loop.reconciler.has_left) == (True, True)
    loop.follow(READY)
    assert (loop.reconciler.is_leaving, loop.reconciler.has_left) == (False, False)


def test_leave_does_not_wait_for_a_pause():
    loop = registered()
    loop.balancer.fault = always(Trouble.AUTH)
    loop.run(600)
    loop.balancer.fault = always(Trouble.AUTH, until=0)
    loop.follow(LEFT)
    loop.run(0.1)
    assert loop.balancer.count(Call.DEREGISTER) == 1


def test_a_balancer_that_is_told_first_is_served_on_for_until_its_draining_is_over():
    loop = registered(tells_first=True, balancer=Balancer(draining_lasts=300))
    loop.follow(LEFT)
    loop.run(290)
    assert loop.reconciler.keeps_serving_for(now=loop.now) == "target web to be drained by its balancer"
    assert loop.reconciler.unfinished is None
    loop.run(30)
    assert loop.reconciler.keeps_serving_for(now=loop.now) is None


def test_a_balancer_whose_answer_to_a_leave_is_lost_is_served_on_for_as_well():
    loop = registered(tells_first=True, balancer=Balancer(draining_lasts=300))
    loop.balancer.lost = 1
    loop.follow(LEFT)
    loop.run(290)
    assert loop.balancer.changes == [Call.REGISTER, Call.DEREGISTER]
    assert loop.reconciler.keeps_serving_for(now=loop.now) == "target web to be drained by its balancer"
    loop.run(30)
    assert loop.reconciler.keeps_serving_for(now=loop.now) is None


def test_a_balancer_that_is_told_first_may_send_new_connections_for_two_minutes():
    loop = registered(tells_first=True, balancer=Balancer(draining_lasts=1))
    loop.follow(LEFT)
    loop.run(119)
    assert loop.balancer.presence is Presence.ABSENT
    assert loop.reconciler.keeps_serving_for(now=loop.now) is not None
    loop.run(2)
    assert loop.reconciler.keeps_serving_for(now=loop.now) is None


def test_a_balancer_that_is_told_first_and_out_of_sight_is_not_served_on_for_for_ever():
    loop = registered(tells_first=True, balancer=Balancer(draining_lasts=1e9))
    loop.follow(LEFT)
    loop.run(10)
    loop.balancer.fault = always(Trouble.RETRY)
    loop.run(180)
    assert loop.reconciler.keeps_serving_for(now=loop.now) is None


def test_a_balancer_that_drains_for_ever_is_not_served_on_for_for_ever():
    loop = registered(tells_first=True, balancer=Balancer(draining_lasts=1e9))
    loop.follow(LEFT)
    loop.run(3700)
    assert loop.reconciler.keeps_serving_for(now=loop.now) is not None
    loop.run(60)
    assert loop.reconciler.keeps_serving_for(now=loop.now) is None


def test_a_leave_in_the_midst_of_a_registration_deregisters_without_more_ado():
    loop = Loop()
    loop.run(10)
    loop.follow(READY)
    loop.run(4.9)
    reconciler, now = loop.reconciler, loop.now + 0.1
    assert reconciler.due(now=now) is Call.OBSERVE
    reconciler.observed(Observation(presence=Presence.ABSENT), now=now)
    assert reconciler.due(now=now) is Call.REGISTER
    loop.follow(LEFT)
    assert reconciler.due(now=now) is None, "one call at a time"
    loop.balancer.presence = Presence.HEALTHY
    loop.events += reconciler.done(Call.REGISTER, now=now)
    loop.now = now
    loop.run(3)
    assert loop.balancer.changes == [Call.DEREGISTER]
    assert reconciler.unfinished is None
    assert loop.said_of("again: the balancer had accepted that") == 0


def test_start_after_leave_registers_again():
    loop = registered()
    loop.follow(LEFT)
    loop.run(60)
    loop.follow(READY)
    loop.run(60)
    assert loop.balancer.changes == [Call.REGISTER, Call.DEREGISTER, Call.REGISTER]


# The document


def test_the_document_says_what_is_wished_and_seen_and_what_goes_wrong():
    loop = registered()
    loop.balancer.fault = always(Trouble.AUTH, "ExpiredToken")
    loop.run(70)
    document = loop.reconciler.status(now=loop.now)
    assert (document.name, document.desired, document.why, document.observed) == (
        "web",
        "registered",
        "Ready and a member",
        "healthy",
    )
    assert document.error.text == "ExpiredToken"
    assert document.last_success_age > 0
    assert document.next_try > 0
    assert document.calls["register"] == 1
    assert document.failures["auth"] >= 1


# Always and never


class AnyStory(RuleBasedStateMachine):
    """Situations, faults, other people and time, in any order."""

    def __init__(self):
        super().__init__()
        self.loop = None
        self.told = 0

    @precondition(lambda self: self.loop is None)
    @rule(
        policy=st.sampled_from(["member", "healthy", "observe"]),
        tells_first=st.booleans(),
        seed=st.integers(0, 99),
        presence=st.sampled_from([Presence.ABSENT, Presence.HEALTHY, Presence.DRAINING, Presence.UNKNOWN]),
    )
    def begin(self, policy, tells_first, seed, presence):
        self.policy, self.presence = policy, presence
        balancer = Balancer(presence=presence)
        self.loop = Loop(policy=policy, tells_first=tells_first, seed=seed, balancer=balancer)
        self.situations = [(self.loop.now, Situation())]
        self.left_at = None

    @precondition(lambda self: self.loop is not None)
    @rule(situation=st.sampled_from([READY, UNREADY, DRAINED, STOPPED, LEFT]))
    def follow(self, situation):
        if situation is LEFT and self.situations[-1][1] is not LEFT:
            self.left_at = self.loop.now
        elif situation is not LEFT:
            self.left_at = None
        self.situations.append((self.loop.now, situation))
        self.loop.follow(situation)

    @precondition(lambda self: self.loop is not None)
    @rule(seconds=st.sampled_from([0.01, 0.7, 3.0, 6.0, 31.0, 90.0, 700.0]))
    def pass_time(self, seconds):
        self.loop.run(seconds)

    @precondition(lambda self: self.loop is not None)
    @rule(trouble=st.sampled_from([None, *Trouble]), of=st.sampled_from([None, *Call]), lost=st.integers(0, 2))
    def fail(self, trouble, of, lost):
        self.loop.balancer.lost = lost
        self.loop.balancer.fault = always(trouble, of=of) if trouble else always(Trouble.RETRY, until=0)

    @precondition(lambda self: self.loop is not None)
    @rule(presence=st.sampled_from([Presence.ABSENT, Presence.HEALTHY, Presence.UNHEALTHY, Presence.UNUSED]))
    def somebody_else(self, presence):
        self.loop.balancer.presence = presence

    @precondition(lambda self: self.loop is not None)
    @rule(blind=st.booleans(), inert=st.booleans())
    def be_odd(self, blind, inert):
        self.loop.balancer.blind, self.loop.balancer.inert = blind, inert

    @invariant()
    def no_change_without_a_look_since_the_last_one(self):
        if self.loop is None:
            return
        looked = False
        for _, call in self.loop.balancer.asked:
            assert looked or call is Call.OBSERVE
            looked = call is Call.OBSERVE

    @invariant()
    def only_a_wish_that_has_lasted_costs_a_change(self):
        if self.loop is None:
            return
        for at, call in self.loop.balancer.asked:
            since, situation = [entry for entry in self.situations if entry[0] <= at][-1]
            if call is Call.REGISTER:
                assert situation is READY
                assert self.policy != "observe"
                assert at - self._since(READY, at) >= 5
            if call is Call.DEREGISTER:
                assert self.policy != "observe"
                assert situation is LEFT or (self.policy == "healthy" and not situation.ready and at - since >= 0)

    def _since(self, situation, at):
        """Say since when it has been like this without a break."""
        began = None
        for when, what in self.situations:
            if when <= at:
                began = (when if began is None else began) if what is situation else None
        return began

    @invariant()
    def leaving_is_bounded(self):
        if self.loop is not None and self.left_at is not None and self.loop.now >= self.left_at + 20:
            waits_for = self.loop.reconciler.keeps_serving_for(now=self.loop.now)
            assert waits_for is None or "drained by its balancer" in waits_for

    @invariant()
    def nobody_is_asked_too_often(self):
        if self.loop is None:
            return
        times = [at for at, _ in self.loop.balancer.asked]
        for index, at in enumerate(times):
            within = sum(at <= other < at + 10 for other in times[index:])
            assert within <= 40, self.loop.balancer.asked

    def teardown(self):
        """In the end, with a balancer that works and nobody else about, all is as is wished."""
        if self.loop is None:
            return
        loop = self.loop
        loop.balancer.fault, loop.balancer.lost = always(Trouble.RETRY, until=0), 0
        loop.balancer.blind = loop.balancer.inert = False
        if self.situations[-1][1] not in (READY, LEFT) or self.policy == "observe":
            return
        loop.run(1500)
        there = loop.balancer.presence not in (Presence.ABSENT, Presence.DRAINING)
        assert there == (self.situations[-1][1] is READY)


AnyStory.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_any_story = AnyStory.TestCase


@given(seed=st.integers(0, 1000), poll=st.sampled_from([1.0, 10.0, 60.0, 3600.0]))
def test_nodes_do_not_look_in_step(seed, poll):
    loops = [Loop(seed=Random(seed * 2 + number).randrange(10**9), backoff=Backoff(poll=poll)) for number in range(2)]
    for loop in loops:
        loop.run(10 * poll)
    assert {at for at, _ in loops[0].balancer.asked}.isdisjoint({at for at, _ in loops[1].balancer.asked})
