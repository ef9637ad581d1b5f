"""Rise and fall of a check, and when it is tried again."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hcsidecar.core.application.checks import UNCHECKED, CheckDebouncer, first_complaint, last_line, why_not_good


def check(rise=1, fall=1, interval=10.0, pending_interval=10.0, seed=1):
    uniform = Random(seed).uniform
    return CheckDebouncer(rise=rise, fall=fall, interval=interval, pending_interval=pending_interval, uniform=uniform)


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
                f"{REFUSED}; 1 of 3 good attempts since then",
                f"{REFUSED}; 2 of 3 good attempts since then",
                REFUSED,
                f"{REFUSED}; 1 of 3 good attempts since then",
                f"{REFUSED}; 2 of 3 good attempts since then",
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
    due = check(interval=interval, pending_interval=3600, seed=seed).next_attempt_at(began=began, now=now)
    assert due >= now
    assert due == now or 0.9 * interval <= due - began + 1e-6 <= 1.1 * interval + 2e-6


def test_attempts_wander_so_that_checks_do_not_fall_into_step():
    first, second = check(seed=1), check(seed=2)
    assert first.next_attempt_at(began=0, now=0) != second.next_attempt_at(began=0, now=0)


@pytest.mark.parametrize(
    ("rise", "fall", "attempts", "pending"),
    [
        (1, 1, [], [True]),
        (1, 1, [REFUSED, REFUSED, None, REFUSED, None], [True, True, True, False, False, False]),
        (2, 1, [None, None, None], [True, True, False, False]),
        (1, 3, [None, REFUSED, REFUSED, None], [True, False, True, True, False]),
        (1, 2, [None, REFUSED, REFUSED, REFUSED], [True, False, True, False, False]),
        (2, 1, [None, None, REFUSED, None, REFUSED], [True, True, False, False, True, False]),
    ],
)
def test_a_change_is_pending_until_the_first_pass_and_while_attempts_speak_against_the_verdict(
    rise, fall, attempts, pending
):
    filtered = check(rise=rise, fall=fall)
    seen = [filtered.pending]
    for failure in attempts:
        filtered.attempted(failure)
        seen.append(filtered.pending)
    assert seen == pending


@pytest.mark.parametrize(
    ("interval", "pending_interval", "while_pending", "afterwards"),
    [(10, 1, 1, 10), (1, 10, 1, 1), (0.1, 0.1, 0.1, 0.1)],
)
def test_attempts_come_faster_while_a_change_is_pending(interval, pending_interval, while_pending, afterwards):
    filtered = CheckDebouncer(
        rise=1, fall=1, interval=interval, pending_interval=pending_interval, uniform=lambda low, high: 0.0
    )
    filtered.attempted(REFUSED)
    assert filtered.next_attempt_at(began=100, now=100) == 100 + while_pending
    filtered.attempted(None)
    assert filtered.next_attempt_at(began=100, now=100) == 100 + afterwards


@pytest.mark.parametrize(
    ("output", "line"),
    [
        (b"", ""),
        (b"\n \n\t\n", ""),
        (b"first\nlast", "last"),
        (b"first\nlast\n\n", "last"),
        (b"progress\rqueue  is\tfull\r\n", "queue is full"),
        (b"\x1b[31mred\x1b[0m\x00!\n", "[31mred [0m !"),
        ("Schlange f\u00fcllt sich\n".encode("latin-1"), "Schlange f\ufffdllt sich"),
        (b"x" * 200, "x" * 200),
        (b"x" * 201, "x" * 199 + "\u2026"),
        (b"\0" * 4096, ""),
    ],
)
def test_the_reason_is_the_last_line_that_says_anything(output, line):
    assert last_line(output) == line


@pytest.mark.parametrize(
    ("status", "output", "reason"),
    [
        (0, b"all is well", None),
        (3, b"queue is full\n", "queue is full (exit status 3)"),
        (1, b"", "exit status 1"),
        (-11, b"", "killed by SIGSEGV"),
        (-40, b"", "killed by SIGRTMIN+6"),
        (-9, b"at work", "at work (killed by SIGKILL)"),
    ],
)
def test_a_program_fails_by_its_exit_status_and_says_why_in_its_last_line(status, output, reason):
    assert why_not_good(status, output) == reason


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


def test_a_patient_check_has_no_result_before_it_has_failed_or_passed_often_enough():
    patient = CheckDebouncer(rise=2, fall=3, interval=10, pending_interval=1, uniform=lambda low, high: 0, patient=True)
    assert [patient.attempted(failure) for failure in ("refused", None, "refused", "refused")] == [UNCHECKED] * 4
    assert patient.attempted("refused") == "refused"
    assert patient.attempted(None) == "refused; 1 of 2 good attempts since then"
    assert patient.attempted(None) is None


def test_other_limits_count_with_what_has_been_found():
    passing = CheckDebouncer(rise=1, fall=3, interval=10, pending_interval=1, uniform=lambda low, high: 0)
    assert passing.attempted(None) is None
    assert passing.attempted("refused") is None
    passing.adjust(rise=1, fall=2, interval=2, pending_interval=4)
    assert passing.next_attempt_at(began=0, now=0) == 2
    assert passing.attempted("refused") == "refused"
