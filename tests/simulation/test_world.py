"""The simulation itself: what it does to machines is what the world does to servers, and its observer sees it."""

import dataclasses

from simulation.histories import draw
from simulation.machine import KernelShare
from simulation.network import Weather
from simulation.run import account
from simulation.scenario import PLANNED, Scenario, Step
from simulation.world import World

T = 0.5


def farm(*steps, size=2, until=5.0, share=KernelShare):
    """A small farm with the preset lan that starts at 0; steps are (time in T, what, arguments)."""
    starts = [Step(0.0, "start", (index,)) for index in range(size)]
    scenario = Scenario(
        kind="by hand",
        seed=1,
        preset="lan",
        size=size,
        steps=(*starts, *(Step(at, what, args) for at, what, *args in steps)),
        until=until,
        powers=((1,),) * size,
        weather=Weather(delay=0.002),
    )
    return World(scenario, share=share)


def at(world, time, look):
    """Look at the running world at a time in T; gives a list that will hold what was seen."""
    seen = []
    world.schedule(time * T, lambda _: seen.append(look()), None)
    return seen


def test_in_peace_all_buckets_are_taken_once():
    world = farm(size=3).run()
    masks = [machine.open_now() for machine in world.machines]
    assert sum(mask.bit_count() for mask in masks) == 64
    assert masks[0] | masks[1] | masks[2] == world.all_buckets
    assert world.observer.violations == []


def test_a_killed_daemon_leaves_its_filter_open_until_the_lease_ends():
    world = farm((4.0, "crash", 0, False), until=9.0)
    victim = world.machines[0]
    before, just_after = at(world, 3.99, victim.open_now), at(world, 4.5, victim.open_now)
    later = at(world, 5.1, victim.open_now)
    world.run()
    assert before == just_after != [0]
    assert later == [0]
    assert victim.open_mask == before[0]


def test_with_the_power_off_the_filter_is_gone():
    world = farm((4.0, "crash", 0, True), until=9.0)
    seen = at(world, 4.01, lambda: world.machines[0].open_mask)
    world.run()
    assert seen == [0]


def test_a_new_daemon_closes_the_filter_that_the_old_one_left_open():
    world = farm((4.0, "crash", 0, False), (4.2, "start", 0), until=12.0)
    victim = world.machines[0]
    open_before, open_after = at(world, 4.19, victim.open_now), at(world, 4.2001, victim.open_now)
    world.run()
    assert open_before != [0]
    assert open_after == [0]
    assert victim.boot == 2


def test_a_frozen_daemon_stops_taking_before_the_other_takes_over():
    world = farm((4.0, "stick", 0, 3.0), until=16.0)
    sleeper, other = world.machines
    lapsed = at(world, 5.12, lambda: (sleeper.open_now(), other.open_now() == world.all_buckets))
    taken_over = at(world, 5.4, lambda: other.open_now() == world.all_buckets)
    world.run()
    assert lapsed == [(0, False)]
    assert taken_over == [True]
    assert sleeper.boot == 2
    assert world.observer.violations == []


def test_what_arrives_at_a_frozen_daemon_is_read_when_it_thaws():
    world = farm((4.0, "stick", 0, 0.5), until=14.0)
    deliveries = at(world, 4.4, lambda: world.deliveries)
    machine = world.machines[0]
    heard = at(world, 4.5001, lambda: machine.node.membership.peers.by_name["n01"].seq)
    said = at(world, 4.4981, lambda: world.machines[1].said.seq)
    world.run()
    assert heard == said
    assert deliveries[0] < world.deliveries
    assert machine.boot == 1


def test_two_filters_that_take_the_same_are_seen_whoever_believes_what():
    world = farm(until=9.0)
    world.schedule(4 * T, lambda _: world.machines[0].write_mask(world.all_buckets), None)
    world.run()
    assert [broken.promise for broken in world.observer.violations] == ["one taker"]


def test_two_parts_that_cannot_hear_each_other_may_both_take():
    world = farm((2.5, "split", (0,)), until=12.0).run()
    assert [machine.open_now() for machine in world.machines] == [world.all_buckets] * 2
    assert world.observer.violations == []


def test_two_namesakes_that_both_go_above_a_boot_take_different_ones_and_one_of_them_serves():
    restarts = [(at, *what) for at in (2.0, 2.2, 2.4, 2.6) for what in (("crash", 0, True), ("start", 0))]
    losses = [
        (3.0, "crash", 0, True),
        *((at, what, index) for at, what in ((3.0, "lose_state"), (3.5, "start")) for index in (0, 2)),
    ]
    scenario = dataclasses.replace(farm(*restarts, *losses, until=15.0).scenario, doubled=0)
    world = World(scenario).run()
    assert world.observer.violations == []
    higher = "has heard a higher boot of this node"
    assert all(world.story.tells(twin.label, higher, since=3.5 * T) for twin in world.twins)
    assert [bool(twin.said.view) for twin in sorted(world.twins, key=lambda twin: twin.boot)] == [False, True]


class NeverCloses(KernelShare):
    """A kernel that ignores what it is told to drop."""

    def _write(self):
        self._machine.write_mask(self.mine(0) | self._machine.open_mask)


def test_an_overlap_is_judged_once_the_link_is_whole_long_enough():
    world = farm((2.5, "split", (0,)), (6.0, "heal_all"), until=12.0, share=NeverCloses).run()
    assert [broken.promise for broken in world.observer.violations] == ["one taker"]
    assert 8.0 * T < world.observer.violations[0].at < 8.3 * T


def test_a_bucket_without_a_taker_is_seen_after_quiet():
    world = farm(until=9.0)
    world.schedule(8.9 * T, lambda _: world.machines[0].write_mask(0), None)
    world.run()
    assert [broken.promise for broken in world.observer.violations] == ["one taker after quiet"]


def test_a_move_that_takes_too_long_is_seen():
    world = farm((4.0, "measure"), (5.0, "measured", PLANNED, 0), until=9.0)
    world.schedule(4.1 * T, lambda _: world.machines[0].write_mask(0), None)
    world.run()
    assert "short moves" in [broken.promise for broken in world.observer.violations]


def test_a_bucket_that_moves_between_two_who_stay_is_seen():
    world = farm((4.0, "measure"), (5.0, "drain", 2), (6.0, "measured", PLANNED, 2), size=3, until=9.0)
    stolen = []

    def steal(_):
        one = world.machines[0]
        stolen.append(one.open_mask & -one.open_mask)
        one.write_mask(one.open_mask & ~stolen[0])

    world.schedule(4.5 * T, steal, None)
    world.run()
    assert "only its buckets move" in [broken.promise for broken in world.observer.violations]


def test_a_failure_tells_the_story_and_how_to_replay_it():
    world = World(draw(3, kind="storm"))
    world.schedule(1.0, lambda _: world.observer.breach("no promise", "made up"), None)
    told = account(world.run())
    assert "--seed 3 --kind 'storm'" in told
    assert "BROKEN at 1.0000: no promise: made up" in told
    assert "start n0" in told
