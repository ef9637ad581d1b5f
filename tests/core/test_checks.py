"""Rise and fall of a check, and when it is tried again."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.checks import UNCHECKED, CheckFilter, first_complaint


def check(rise=1, fall=1, interval=10.0, seed=1):
    return CheckFilter(rise=rise, fall=fall, interval=interval, uniform=Random(seed).uniform)


REFUSED = "connection refused"


def test_a_check_has_not_passed_before_its_first_attempt():
    assert check().complaint == UNCHECKED


@pytest.mark.parametrize(
    ("rise", "fall", "attempts", "complaints"),
    [
        (1, 1, [None, REFUSED, None], [None, REFUSED, None]),
        (2, 1, [None, None, REFUSED], [UNCHECKED, None, REFUSED]),
        (1, 3, [None, REFUSED, REFUSED, REFUSED], [None, None, None, REFUSED]),
        (1, 2, [None, REFUSED, None, REFUSED, REFUSED], [None, None, None, None, REFUSED]),
        (1, 3, [REFUSED, "hung"], [REFUSED, "hung"]),
        (
            3,
            1,
            [REFUSED, None, None, REFUSED, None, None, None],
            [
                REFUSED,
                f"{REFUSED}; 1 of 3 good attempts since",
                f"{REFUSED}; 2 of 3 good attempts since",
                REFUSED,
                f"{REFUSED}; 1 of 3 good attempts since",
                f"{REFUSED}; 2 of 3 good attempts since",
                None,
            ],
        ),
    ],
)
def test_a_check_passes_after_rise_good_attempts_and_fails_after_fall_bad_ones(rise, fall, attempts, complaints):
    filtered = check(rise=rise, fall=fall)
    assert [filtered.attempted(failure) for failure in attempts] == complaints
    assert filtered.complaint == complaints[-1]


@given(rise=st.integers(1, 5), fall=st.integers(1, 5), attempts=st.lists(st.booleans(), max_size=60))
def test_the_verdict_is_that_of_the_last_long_enough_run(rise, fall, attempts):
    filtered = check(rise=rise, fall=fall)
    for good in attempts:
        filtered.attempted(None if good else REFUSED)

    def ends_a_run(end, wanted, length):
        return end >= length and all(good is wanted for good in attempts[end - length : end])

    ends = range(len(attempts) + 1)
    last_rise = max((end for end in ends if ends_a_run(end, wanted=True, length=rise)), default=0)
    last_fall = max((end for end in ends if ends_a_run(end, wanted=False, length=fall)), default=0)
    assert (filtered.complaint is None) == (last_rise > last_fall)


@given(
    interval=st.floats(0.01, 3600),
    began=st.floats(0, 1e6),
    took=st.floats(0, 600),
    seed=st.integers(),
)
def test_the_next_attempt_comes_an_interval_after_the_last_but_never_beside_it(interval, began, took, seed):
    now = began + took
    due = check(interval=interval, seed=seed).next_attempt_at(began=began, now=now)
    assert due >= now
    assert due == now or 0.9 * interval <= due - began + 1e-6 <= 1.1 * interval + 2e-6


def test_attempts_wander_so_that_checks_do_not_fall_into_step():
    first, second = check(seed=1), check(seed=2)
    assert first.next_attempt_at(began=0, now=0) != second.next_attempt_at(began=0, now=0)


@pytest.mark.parametrize(
    ("complaints", "summary"),
    [
        ({}, None),
        ({"HTTP": None}, None),
        ({"HTTP": UNCHECKED}, "check HTTP: not passed yet"),
        ({"HTTP": UNCHECKED, "DB": "hung"}, "check DB: hung (and 1 more)"),
        ({"A": REFUSED, "B": None, "C": "hung", "D": UNCHECKED}, "check A: connection refused (and 2 more)"),
    ],
)
def test_the_summary_names_a_failing_check_first(complaints, summary):
    assert first_complaint(complaints) == summary
