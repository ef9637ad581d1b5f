"""Does the simulation of applied settings notice? One rule at a time is broken, and a promise must be seen broken.

Nothing is broken in the very histories in which the mutant is caught as long as the rule holds.
"""

import pytest
from simulation.applying import mutants
from simulation.applying.histories import draw
from simulation.applying.reach import CAUGHT, MOST, described, first_caught
from simulation.applying.run import account
from simulation.applying.world import FarmWorld
from simulation.reach import LIST

CHAPTER = "## Settings that are applied while the farm serves\n"


@pytest.mark.parametrize(("mutant", "kind", "promises"), CAUGHT, ids=[row[0].__name__ for row in CAUGHT])
def test_the_simulation_of_applied_settings_notices_the_mutant(mutant, kind, promises):
    caught = first_caught(mutant, kind)
    assert caught is not None, f"{mutant.__name__} was not caught in {MOST} histories of the kind {kind}"
    seed, promise = caught
    assert promise in promises
    for whole in (FarmWorld(draw(number, kind=kind)).run() for number in range(seed + 1)):
        assert not whole.observer.violations, account(whole)


def test_every_mutant_of_applied_settings_is_tried():
    written = {
        thing for thing in vars(mutants).values() if isinstance(thing, type) and thing.__module__ == mutants.__name__
    }
    assert {row[0] for row in CAUGHT} == written


def test_the_documents_list_each_mutant_of_applied_settings():
    assert [row[0].__name__ for row in CAUGHT] == [
        line.split("`")[1] for line in LIST.read_text().partition(CHAPTER)[2].splitlines() if "| `" in line
    ]


@pytest.mark.soak
def test_the_chapter_on_applied_settings_is_what_happens():
    assert LIST.read_text().endswith(described())
