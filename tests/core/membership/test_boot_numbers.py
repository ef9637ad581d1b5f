"""The boot number of a start: what it is above, and what two processes under one name take."""

from random import Random

import pytest

from hcsidecar.core.membership.boot_numbers import LONGEST_STEP, next_boot

MILLENNIUM = 946_684_800.5
"Seconds since 1970."


@pytest.mark.parametrize(
    ("last", "above"), [(0, -1), (946_684_800_499, -1), (5, 946_684_800_499)], ids=["nothing known", "last", "refused"]
)
def test_a_clock_that_is_right_gives_the_boot_number(last, above):
    assert next_boot(last=last, above=above, wall_clock=MILLENNIUM, chance=Random(1)) == 946_684_800_500


@pytest.mark.parametrize(("last", "above", "known"), [(7, -1, 7), (7, 9, 9), (9, 7, 9)])
def test_with_a_clock_that_is_behind_it_is_above_all_that_is_known(last, above, known):
    taken = {next_boot(last=last, above=above, wall_clock=0.0, chance=Random(seed)) for seed in range(100)}
    assert known < min(taken)
    assert max(taken) <= known + LONGEST_STEP


def test_two_processes_that_go_above_the_same_number_take_different_ones():
    taken = {next_boot(last=0, above=5, wall_clock=0.0, chance=Random(seed)) for seed in range(100)}
    assert len(taken) == 100
