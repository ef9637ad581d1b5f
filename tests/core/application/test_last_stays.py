"""Who leaves and who stays when a need that all share is unmet."""

import pytest

from hcsidecar.core.application.last_stays import LastStays, OtherNode, Outlook, UnmetNeedDecision, look_around

BETTER = Outlook(others_serve=True, is_last=False)
ALONE = Outlook(others_serve=False, is_last=True)
NOT_THE_LAST = Outlook(others_serve=False, is_last=False)


def other(name, *unmet, serves=True):
    return OtherNode(name=name, serves=serves, unmet=frozenset(unmet))


@pytest.mark.parametrize(
    ("neighbours", "outlook"),
    [
        ([], ALONE),
        ([other("web3")], Outlook(others_serve=True, is_last=True)),
        ([other("web3", serves=False)], ALONE),
        ([other("web3", "ROUTER")], ALONE),
        ([other("web1", "ROUTER")], NOT_THE_LAST),
        ([other("web1", "ROUTER", serves=False)], ALONE),
        ([other("web1", "DATABASE")], Outlook(others_serve=True, is_last=True)),
        ([other("web1", "ROUTER"), other("web3")], BETTER),
        ([other("web2", "ROUTER")], ALONE),
    ],
)
def test_the_others_are_better_off_alike_or_gone(neighbours, outlook):
    assert look_around("web2", ["ROUTER"], neighbours) == outlook


def judge(outlook, *, enabled, now=0.0):
    decision = LastStays(enabled=enabled)
    decision.outlook = outlook
    return decision, decision.judge(now=now)


@pytest.mark.parametrize(
    ("outlook", "enabled", "verdict"),
    [
        (BETTER, False, UnmetNeedDecision.LEAVE),
        (BETTER, True, UnmetNeedDecision.LEAVE),
        (ALONE, False, UnmetNeedDecision.LEAVE_NOBODY),
        (ALONE, True, UnmetNeedDecision.HOLD_ON),
        (NOT_THE_LAST, True, UnmetNeedDecision.HOLD_ON),
    ],
)
def test_a_node_holds_on_only_where_the_last_one_stays_and_nobody_is_better_off(outlook, enabled, verdict):
    assert judge(outlook, enabled=enabled)[1] is verdict


def test_after_a_moment_the_lowest_name_stays_and_the_others_leave():
    lowest, _ = judge(ALONE, enabled=True)
    assert lowest.hold_until == 1
    assert (lowest.judge(now=0.9), lowest.judge(now=1)) == (UnmetNeedDecision.HOLD_ON, UnmetNeedDecision.STAY)
    second, _ = judge(NOT_THE_LAST, enabled=True)
    assert second.judge(now=1) is UnmetNeedDecision.LEAVE


def test_who_has_stayed_goes_on_staying_until_another_is_better_off():
    stays, _ = judge(ALONE, enabled=True)
    stays.judge(now=1)
    stays.outlook = NOT_THE_LAST
    assert stays.judge(now=2) is UnmetNeedDecision.STAY
    stays.outlook = BETTER
    assert stays.judge(now=3) is UnmetNeedDecision.LEAVE
    assert not stays.stays


def test_a_need_that_is_met_again_is_forgotten():
    stays, _ = judge(ALONE, enabled=True)
    stays.judge(now=1)
    assert stays.reset()
    assert not stays.reset()
