"""What a node does that is told of another process of its name."""

import pytest

from hcsidecar.core.membership.boot_dispute import BootDispute, DisputeOutcome

T = 0.5


def outcome(boot, *, lives=True, now=0.0):
    return BootDispute(name="web1", boot=7).hear(peer="web2", boot=boot, lives=lives, lost_after=T, now=now)


@pytest.mark.parametrize("lives", [True, False])
def test_a_lower_boot_concerns_an_earlier_life_of_this_node(lives):
    assert outcome(6, lives=lives) is DisputeOutcome.IGNORE


def test_above_a_boot_that_is_heard_no_more_this_node_may_go():
    assert outcome(9, lives=False) is DisputeOutcome.GO_ABOVE


def test_a_process_with_the_same_boot_is_told_at_once():
    assert outcome(7) is DisputeOutcome.TELL


def test_a_process_with_a_higher_boot_keeps_this_one_out_and_is_told_when_it_does_not_die():
    dispute = BootDispute(name="web1", boot=7)
    heard = [dispute.hear(peer="web2", boot=9, lives=True, lost_after=T, now=now) for now in (0.0, 0.4, 0.8, 1.2, 1.6)]
    assert heard[:2] == [DisputeOutcome.STAY_OUT] * 2
    assert heard.count(DisputeOutcome.TELL) == 1
