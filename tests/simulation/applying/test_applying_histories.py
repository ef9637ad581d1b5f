"""The promises of membership and agreement together, in histories of farms that change their settings and serve."""

import os
from collections import Counter

import pytest
from simulation.applying.histories import KINDS, draw
from simulation.applying.run import account
from simulation.applying.world import FarmWorld

HISTORIES = 200
CHUNK = 20
SOAK = int(os.environ.get("HCSIDECAR_SOAK_HISTORIES", "20000"))


def live_through(scenario):
    world = FarmWorld(scenario).run()
    assert not world.observer.violations, account(world)
    return world


@pytest.mark.parametrize("first", range(0, HISTORIES, CHUNK))
def test_every_promise_is_kept_while_settings_change_in_histories_from(first):
    for seed in range(first, first + CHUNK):
        live_through(draw(seed))


@pytest.mark.soak
@pytest.mark.parametrize("first", range(HISTORIES, HISTORIES + SOAK // 2, 100))
def test_every_promise_is_kept_while_settings_change_in_many_more_histories_from(first):
    for seed in range(first, min(first + 100, HISTORIES + SOAK // 2)):
        live_through(draw(seed))


def test_the_histories_of_applied_settings_are_of_every_kind_size_and_preset():
    drawn = [draw(seed) for seed in range(HISTORIES)]
    kinds = Counter(scenario.kind for scenario in drawn)
    assert min(kinds[kind] for kind in KINDS) >= 5
    assert {scenario.size for scenario in drawn} == {2, 3, 4, 5}
    assert {scenario.preset for scenario in drawn} == {"lan", "wan"}
    assert {scenario.delivery for scenario in drawn} == {"flooded", "directed"}
    assert {step.what for scenario in drawn for step in scenario.steps} >= {
        *("start", "crash", "stick", "cut", "heal", "split", "heal_all", "leave", "come_back", "drain"),
        *("change", "spoil", "fill_disk", "free_disk", "recover"),
    }


def test_the_changes_of_these_histories_are_settled_refused_and_cut_short():
    ends = Counter()
    for kind in KINDS:
        for seed in range(4):
            world = live_through(draw(seed, kind=kind))
            for attempt in world.revisions.attempts.values():
                ends["settled" if attempt.settled else "over" if attempt.over else "cut short"] += 1
    assert min(ends["settled"], ends["over"], ends["cut short"]) >= 5


@pytest.mark.parametrize("kind", ["peace", "deaths"])
def test_the_same_seed_gives_the_same_history_of_applied_settings(kind):
    assert len({FarmWorld(draw(77, kind=kind)).run().story.digest() for _ in range(2)}) == 1
