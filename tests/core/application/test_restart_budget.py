"""The restart budget: what counts, and a story that fits into one event and one small file."""

from hcsidecar.core.application.restart_budget import RestartBudget
from hcsidecar.events.journal import LONGEST


def spent(budget, count, why="check HTTP: refused"):
    return [budget.spend(why, now=float(number)) for number in range(count)]


def test_the_failure_after_the_last_that_is_allowed_tells_the_story():
    stories = spent(RestartBudget(most=3, window=100), 4)
    assert stories[:3] == [None, None, None]
    assert stories[3].startswith("failure 4 within 100s")
    assert stories[3].count("check HTTP: refused") == 4


def test_long_reasons_still_make_a_story_that_fits_into_one_event():
    *_, story = spent(RestartBudget(most=1000, window=86400), 1001, why="x" * 5000)
    assert len(story) < LONGEST
    assert "997 before; 3 s ago: x" in story


def test_what_is_kept_of_a_thousand_failures_is_small():
    budget = RestartBudget(most=1000, window=86400)
    spent(budget, 1000, why="x" * 5000)
    assert sum(len(failure.why) for failure in budget.failures(now=1000)) <= 200_000


def test_a_window_of_nothing_counts_nothing():
    budget = RestartBudget(most=0, window=0)
    assert spent(budget, 5) == [None] * 5
    assert budget.used(now=5) == 0


def test_a_budget_that_is_spent_is_known_before_the_next_failure():
    budget = RestartBudget(most=2, window=100)
    reached = []
    for number in range(3):
        reached.append(budget.is_reached(now=number))
        budget.spend("no", now=number)
    assert reached == [False, False, True]
    assert not budget.is_reached(now=101.5)
    assert not RestartBudget(most=0, window=0).is_reached(now=0)


def test_a_story_tells_when_in_the_unit_that_fits():
    budget = RestartBudget(most=3, window=100_000)
    for now in (0, 30_000, 39_400):
        budget.spend("no", now=now)
    story = budget.spend("no", now=40_000)
    assert [word in story for word in ("11 h ago", "3 h ago", "10 min ago", "now")] == [True] * 4
