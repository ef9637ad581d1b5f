"""Does the simulation of settings notice? The agreement is broken in one rule at a time, and a promise must break.

The whole agreement keeps that promise in the very histories in which the mutant is caught.
"""

import pytest
from simulation.reach import LIST
from simulation.settings import mutants
from simulation.settings.histories import draw
from simulation.settings.reach import CAUGHT, MOST, described, first_caught
from simulation.settings.run import account
from simulation.settings.world import World


@pytest.mark.parametrize(("mutant", "kind", "promises"), CAUGHT, ids=[row[0].__name__ for row in CAUGHT])
def test_the_simulation_notices_the_mutant(mutant, kind, promises):
    caught = first_caught(mutant, kind)
    assert caught is not None, f"{mutant.__name__} was not caught in {MOST} histories of the kind {kind}"
    seed, promise = caught
    assert promise in promises
    for whole in (World(draw(number, kind=kind)).run() for number in range(seed + 1)):
        assert not whole.observer.violations, account(whole)


def test_every_mutant_of_the_agreement_is_tried():
    written = {
        thing for thing in vars(mutants).values() if isinstance(thing, type) and thing.__module__ == mutants.__name__
    }
    assert {row[0] for row in CAUGHT} == written


def test_the_documents_list_each_mutant_of_the_agreement():
    chapter = LIST.read_text().partition("\n## Settings\n")[2].partition("\n## ")[0]
    assert [row[0].__name__ for row in CAUGHT] == [line.split("`")[1] for line in chapter.splitlines() if "| `" in line]


@pytest.mark.soak
def test_the_chapter_on_settings_is_what_happens():
    assert described() in LIST.read_text()
