"""Does the simulation notice? The protocol is broken in one rule at a time, and a promise must be seen broken.

The observer and the promises are those of all other histories, and the whole protocol keeps them in the very
histories in which the mutant is caught.
"""

import pytest
from simulation import mutants
from simulation.histories import draw
from simulation.reach import CAUGHT, LIST, MOST, described, first_caught
from simulation.run import account
from simulation.world import World


@pytest.mark.parametrize(("mutant", "kind", "first", "promises"), CAUGHT, ids=[row[0].__name__ for row in CAUGHT])
def test_the_simulation_notices_the_mutant(mutant, kind, first, promises):
    caught = first_caught(mutant, kind, first)
    assert caught is not None, f"{mutant.__name__} was not caught in {MOST} histories of the kind {kind}"
    seed, promise = caught
    assert promise in promises
    for whole in (World(draw(number, kind=kind)).run() for number in range(first, seed + 1)):
        assert not whole.observer.violations, account(whole)


def test_every_mutant_is_tried():
    written = {
        thing
        for name, thing in vars(mutants).items()
        if callable(thing) and thing.__module__ == mutants.__name__ and not name.startswith("_")
    }
    assert {row[0] for row in CAUGHT} == written
    assert len(written) >= 10


def test_the_list_in_the_documents_has_each_mutant():
    chapter, _, _ = LIST.read_text().partition("## Settings\n")
    rows = [line.split(" | ")[1] for line in chapter.splitlines() if "| `" in line]
    assert rows == [f"`{mutant.__name__}`" for mutant, *_ in CAUGHT]


@pytest.mark.soak
def test_the_list_in_the_documents_says_what_happens():
    assert LIST.read_text().startswith(described())
