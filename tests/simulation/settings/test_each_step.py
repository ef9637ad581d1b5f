"""One change in a farm of three, with one thing gone wrong: each node killed at each step, each message lost."""

import itertools

import pytest
from simulation.scenario import Step
from simulation.settings.histories import CALM
from simulation.settings.run import account
from simulation.settings.scenario import QUIET, Scenario
from simulation.settings.world import World

AT = 8.0
"When the change is applied, on the first node."
AWAY = (3.0, 60.0)
"Seconds for which the killed node is away: less than a trial lasts, and more than a promise."


def scenario(*, peaceful=False, removes=False, until=AT + QUIET):
    how = (("remove", (2,)),) if removes else ()
    steps = [Step(0.1 * index, "start", (index,)) for index in range(3)]
    return Scenario(
        kind="each step",
        seed=0,
        size=3,
        steps=(*steps, Step(AT, "apply", (0, how))),
        until=until,
        weather=CALM,
        peaceful=peaceful,
        steady=peaceful,
    )


def effects_of(removes):
    """Count what is carried out from the change on."""
    world, seen = World(scenario(removes=removes)), []
    world.on_effect = lambda machine, effect, number: seen.append(number) if world.now >= AT else None
    world.run()
    assert not world.observer.violations, account(world)
    assert len(world.observer.settled) == 2
    return seen


def killed_at(number, victim, *, later, away, removes):
    """Live through the change with one node killed at one step, or just after it has begun."""
    world = World(scenario(removes=removes, until=AT + max(AWAY) + QUIET))

    def kill(_):
        world.crash(victim)
        world.schedule(world.now + away, world.start, victim)

    def strike(machine, effect, count):
        if count == number:
            world.tell("FATE", f"{world.names[victim]} is killed as {machine.name} carries out {effect}")
            if later:
                world.schedule(world.now + later, kill, None)
            else:
                kill(None)

    world.on_effect = strike
    world.run()
    assert not world.observer.violations, account(world)
    return world


@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize("victim", range(3))
def test_each_node_may_be_killed_at_each_step(victim, removes):
    ends = set()
    for number in effects_of(removes):
        world = killed_at(number, victim, later=0.0, away=3.0, removes=removes)
        ends.add(len(world.observer.settled))
    # Some of these deaths stop the change for all, some come too late to do so.
    assert ends == {1, 2}


@pytest.mark.soak
@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize("victim", range(3))
def test_each_node_may_be_killed_during_each_step_for_long(victim, removes):
    for number, later, away in itertools.product(effects_of(removes), (0.0, 0.003, 0.05), AWAY):
        killed_at(number, victim, later=later, away=away, removes=removes)


@pytest.mark.parametrize("removes", [False, True])
def test_each_message_may_get_lost_and_the_change_is_settled_all_the_same(removes):
    whole = World(scenario(peaceful=True, removes=removes)).run()
    assert whole.messages >= 4
    for number in range(whole.messages):
        world = World(scenario(peaceful=True, removes=removes))
        world.lost_messages = frozenset({number})
        assert not world.run().observer.violations, account(world)


@pytest.mark.soak
def test_each_two_messages_may_get_lost_and_the_change_is_settled_all_the_same():
    most = World(scenario(peaceful=True)).run().messages + 4
    for lost in itertools.combinations(range(most), 2):
        world = World(scenario(peaceful=True))
        world.lost_messages = frozenset(lost)
        assert not world.run().observer.violations, account(world)
