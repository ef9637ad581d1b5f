"""How long a node listens, by whom it hears."""

import pytest

from hcsidecar.core.membership.listening import Listening
from hcsidecar.core.membership.timing import Timing

LAN = Timing(pulse=0.05, lost_after=0.5)
WAN = Timing(pulse=1.0, lost_after=10.0)


@pytest.mark.parametrize(
    ("heard", "length"),
    [
        ([], 1.0),
        ([(0.1, LAN)], 0.5),
        ([(0.1, LAN), (0.2, LAN)], 0.5),
        ([(0.1, LAN), (0.2, WAN)], 10.0),
        ([(0.7, LAN)], 1.0),
    ],
    ids=range(5),
)
def test_it_lasts_for_the_longest_lost_after_and_twice_as_long_when_nobody_is_heard_in_it(heard, length):
    listening = Listening(LAN, started_at=100.0)
    for at, slowest in heard:
        listening.hear(slowest, now=100 + at)
    assert not listening.is_over(LAN, now=100 + length - 0.01)
    assert listening.is_over(LAN, now=100 + length)
    assert listening.is_over(WAN, now=100 + length)
