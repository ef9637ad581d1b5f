"""What a node wishes to be at its balancers: every policy in every situation, as one table."""

import pytest

from hcsidecar.core.application.states import Word
from hcsidecar.core.targets.desired_state import Situation, desired_state
from hcsidecar.core.targets.registration import DesiredState

START, STOP, DRAIN, LEAVE = Word.START, Word.STOP, Word.DRAIN, Word.LEAVE
PRESENT, ABSENT, AS_IT_IS = DesiredState.PRESENT, DesiredState.ABSENT, DesiredState.AS_IT_IS

# policy, last word, Ready, in the view, seconds of not being Ready -> wish, whether a person waits, why
TABLE = [
    ("member", START, True, True, 0, PRESENT, False, "Ready and a member"),
    ("member", START, True, False, 0, AS_IT_IS, False, "not in the view"),
    ("member", START, False, True, 9999, AS_IT_IS, False, "not Ready, as the health URL shows"),
    ("member", DRAIN, True, True, 0, AS_IT_IS, False, "drained"),
    ("member", DRAIN, False, False, 9999, AS_IT_IS, False, "not Ready, as the health URL shows"),
    ("member", STOP, False, False, 9999, AS_IT_IS, False, "not Ready, as the health URL shows"),
    ("member", LEAVE, False, False, 0, ABSENT, True, "the operator's last word was leave"),
    # Parting: it takes traffic still, and is to be deregistered.
    ("member", LEAVE, True, True, 0, ABSENT, True, "the operator's last word was leave"),
    ("healthy", START, True, True, 0, PRESENT, False, "Ready and a member"),
    ("healthy", START, False, True, 599.9, AS_IT_IS, False, "not Ready, as the health URL shows"),
    ("healthy", START, False, True, 600, ABSENT, False, "not Ready for 600 s"),
    ("healthy", STOP, False, False, 600, ABSENT, False, "not Ready for 600 s"),
    ("healthy", LEAVE, False, False, 600, ABSENT, True, "the operator's last word was leave"),
    ("observe", START, True, True, 0, AS_IT_IS, False, "policy observe"),
    ("observe", LEAVE, False, False, 9999, AS_IT_IS, False, "policy observe"),
]


@pytest.mark.parametrize("row", TABLE)
def test_a_policy_and_a_situation_make_a_wish(row):
    policy, word, ready, in_view, unready, wish, firm, why = row
    situation = Situation(word=word, ready=ready, in_view=in_view)
    wanted = desired_state(policy, situation, unready=unready, unhealthy=600.0)
    assert (wanted.state, wanted.firm, wanted.why) == (wish, firm, why)
